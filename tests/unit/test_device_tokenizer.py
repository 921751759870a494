# SPDX-License-Identifier: Apache-2.0
"""The device's tokenizer against the host's, and its tables against bytes that are no tables."""

from __future__ import annotations

import ctypes
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from host.errors import DeviceFailure, SourceError
from host.files.source import Tokenizer
from host.image.bpe import bpe_section
from host.image.device_text import why_no_terminal
from host.image.inspect import summary
from host.image.reader import Image
from host.image.text.pattern import Unsupported
from host.image.text.roles import find_roles
from host.model import load_source
from host.schema.image import BPE_BYTES, NO_TENSOR, Bpe, BpeFlag, BpeMerge, SectionId, Split
from host.terminal import printable
from host.tokens.chat_template import ChatFormatter
from tests.support.device_tokenizer import Device, Text, image_source
from tests.support.images import ImageEditor
from tests.support.native import Native, Port
from tests.support.texts import CHATML, CORPUS, NASTY, TEXTS, described, trained
from tests.support.tiny import tiny_image, tiny_llama, tiny_tokenizer
from tools import gen_unicode

KINDS = ["gpt2", "smollm", "llama3", "qwen2", "sentencepiece"]
E_PENDING = 70


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Device, Library]:
    path = tmp_path_factory.mktemp("bpe") / "tiny.hsp"
    tiny_image(path, image_source(described(request.param)))
    return Device(Native(1), path), trained(request.param)


def ids(library: Library, text: str) -> list[int]:
    return list(library.encode(text, add_special_tokens=False).ids)


def prepended(library: Library) -> str:
    """What a text begins with that nobody typed."""
    return " " if library.normalizer else ""


def test_nasty_texts_give_the_hosts_tokens(pair: tuple[Device, Library]) -> None:
    device, library = pair
    for text in [*NASTY, *CORPUS, "x" * 4096, "\n" * 300, "ab " * 1300]:
        assert device.encode(text) == ids(library, text), repr(text)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_text_gives_the_hosts_tokens(pair: tuple[Device, Library], data: st.DataObject) -> None:
    device, library = pair
    text = data.draw(TEXTS)
    assert device.encode(text) == ids(library, text)


SPLITS = {"gpt2": Split.GPT2, "smollm": Split.DIGITS, "llama3": Split.LLAMA3, "qwen2": Split.QWEN2}


@pytest.mark.parametrize("kind", SPLITS)
def test_texts_are_cut_where_the_library_cuts_them(native: Native, kind: str) -> None:
    """Also where no merge shows the cut."""
    for text in NASTY:
        wanted = [text[start:end].encode() for _, (start, end) in trained(kind).pre_tokenizer.pre_tokenize_str(text)]
        left, found = text.encode(), list[bytes]()
        while left:
            size = native.lib.tokenizer_split(int(SPLITS[kind]), left, len(left))
            assert 0 < size <= len(left)
            found.append(left[:size])
            left = left[size:]
        assert found == wanted, text


def test_tokens_are_shown_as_the_host_shows_them(pair: tuple[Device, Library]) -> None:
    device, library = pair
    for text in CORPUS:
        found = [*ids(library, text), library.token_to_id("<|im_end|>")]
        shown = device.decode(found).decode(errors="replace")
        assert shown == prepended(library) + library.decode(found, skip_special_tokens=True)
    assert device.decode([1 << 20]) == b""


def test_bytes_that_are_no_text_are_tokens_too(pair: tuple[Device, Library]) -> None:
    device, library = pair
    rng = random.Random(3)
    for _ in range(300):
        data = bytes(rng.choice((rng.randrange(256), 0xE2, 0xC3, 0x20, 0x61)) for _ in range(rng.randrange(1, 40)))
        assert device.decode(device.encode(data)) == prepended(library).encode() + data


def test_what_does_not_fit_is_refused(pair: tuple[Device, Library]) -> None:
    device, _ = pair
    with pytest.raises(DeviceFailure) as error:
        device.encode("x" * 4097)
    assert error.value.number == E_PENDING
    count = len(device.encode("a 1 b<|im_end|>"))
    assert len(device.encode("a 1 b<|im_end|>", count)) == count
    for capacity in range(count):
        with pytest.raises(DeviceFailure):
            device.encode("a 1 b<|im_end|>", capacity)


def test_smollm2_on_its_own_texts(native: Native, tmp_path: Path) -> None:
    try:
        smollm2 = load_source("smollm2-135m-instruct").tokenizer
    except SourceError as error:
        pytest.skip(f"SmolLM2 cannot be fetched: {error}")
    assert smollm2 is not None
    library = Library.from_str(smollm2.json)
    path = tmp_path / "tiny.hsp"
    made = tiny_llama(vocab_size=49152, hidden_size=32, intermediate_size=32, num_hidden_layers=1)
    made.tokenizer = smollm2
    tiny_image(path, made)
    device = Device(native, path)
    roles = find_roles(smollm2)
    for text in [*NASTY, *CORPUS, roles.first + "Why is the sky blue?" + roles.suffix, "x" * 2000]:
        assert device.encode(text) == ids(library, text), repr(text)


WRITE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_uint8), ctypes.c_uint32)


class Shown(ctypes.Structure):
    """struct shown of firmware/terminal/shown.h."""

    _fields_ = (
        ("port", ctypes.c_void_p),
        ("strip", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("held", ctypes.c_uint8 * 4),
    )


def shown(native: Native, pieces: list[bytes]) -> str:
    """What a terminal shows of an answer in pieces."""
    got = bytearray()

    @WRITE
    def write(data: Any, size: int) -> int:
        got.extend(data[:size])
        return 0

    port = Port(write=ctypes.cast(write, ctypes.c_void_p))
    native.lib.shown_put.argtypes = [ctypes.c_void_p, Text]
    answer = Shown()
    native.lib.shown_begin(ctypes.byref(answer), ctypes.byref(port), 0)
    for piece in pieces:
        text = Text(ctypes.cast(ctypes.c_char_p(piece), ctypes.c_void_p), len(piece))
        native.lib.shown_put(ctypes.byref(answer), text)
    native.lib.shown_end(ctypes.byref(answer))
    return got.decode()


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, noise=st.binary(max_size=6), cuts=st.lists(st.integers(0, 40), max_size=5))
def test_answers_are_shown_as_the_host_shows_them(native: Native, text: str, noise: bytes, cuts: list[int]) -> None:
    """Wherever the bytes are cut: characters whole, U+FFFD for what is none, nothing that steers a terminal."""
    data = text.encode() + noise + text.encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    expected = printable(data.decode(errors="replace")).replace("\n", "\r\n")
    assert shown(native, pieces) == expected


# ---- roles ----


def test_roles_are_what_the_template_puts_around_a_question() -> None:
    roles = find_roles(described("smollm"))
    assert roles.first == "<|im_start|>user\n"
    assert roles.suffix == "<|im_end|>\n<|im_start|>assistant\n"
    assert (roles.end, roles.next) == ("<|im_end|>", "\n<|im_start|>user\n")
    formatter = ChatFormatter(described("smollm"))
    library = trained("smollm")
    first = [{"role": "user", "content": "hi"}]
    assert formatter.turn(first).ids == ids(library, roles.first + "hi" + roles.suffix)
    formatter.answered([*ids(library, "well"), library.token_to_id("<|im_end|>")])
    turn = formatter.turn([*first, {"role": "assistant", "content": "well"}, {"role": "user", "content": "so?"}])
    assert turn.ids == ids(library, (roles.next or "") + "so?" + roles.suffix)


@pytest.mark.parametrize(
    ("template", "flags"),
    [
        (None, 0),
        (CHATML, BpeFlag.CHAT | BpeFlag.TURNS),
        ("{{ messages[-1].content }}<|im_end|>", BpeFlag.CHAT),
        ("{% for m in messages %}[{{ m.content }}]{% endfor %}", BpeFlag.CHAT),
        ("{% for m in messages %}[{{ m.content }}{% endfor %}[", BpeFlag.CHAT | BpeFlag.TURNS),
    ],
)
def test_flags_say_what_the_template_can(template: str | None, flags: BpeFlag) -> None:
    head = Bpe.parse(bpe_section(described("gpt2", template)))
    assert head.flags & (BpeFlag.CHAT | BpeFlag.TURNS) == flags


def test_a_template_without_a_clock_of_its_own_gets_none() -> None:
    dated = "{{ strftime_now('%d') if strftime_now is defined else 'no date' }}: {{ messages[0].content }}"
    assert find_roles(described("gpt2", dated)).first == "no date: "


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ messages[0].content | upper }}", "fixed texts"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "fixed texts"),
        ("{{ raise_exception('never') }}", "never"),
        ("{{ 'x' * 3000 }}{{ messages[0].content }}", "2048 bytes"),
    ],
)
def test_templates_of_another_form_are_told(template: str, words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        bpe_section(described("gpt2", template))


def change(tokenizer: Tokenizer, old: str, new: str) -> Tokenizer:
    assert old in tokenizer.json
    return replace(tokenizer, json=tokenizer.json.replace(old, new))


def test_tokenizers_of_another_form_are_told(tmp_path: Path) -> None:
    gpt2 = described("gpt2")
    for tokenizer, words in (
        (tiny_tokenizer(), "model WordLevel is none that the device knows"),
        (change(gpt2, '"normalizer":null', '"normalizer":{"type":"ByteLevel"}'), "normalizer ByteLevel is none"),
        (change(gpt2, '"end_of_word_suffix":null', '"end_of_word_suffix":"$"'), "end_of_word_suffix"),
        (change(described("llama3"), "(?!\\\\S)", "(?<!\\\\S)"), "what no automaton can do"),
        (change(described("llama3"), "{1,3}", "{1,3}(?=ab)"), "what no automaton can do"),
        (change(described("llama3"), "{1,3}", "{1,3}|x*"), "matches where nothing stands"),
    ):
        assert words in (why_no_terminal(tokenizer) or "")
    path = tmp_path / "tiny.hsp"
    tiny_image(path, tiny_llama())
    assert "  terminal   answers no typed lines: its model WordLevel is none that the device knows" in list(
        summary(Image(path))
    )


# ---- tables ----


def test_an_image_without_tables_has_no_tokenizer(native: Native, tmp_path: Path) -> None:
    path = tmp_path / "tiny.hsp"
    tiny_image(path, tiny_llama())
    native.load(path)
    assert native.lib.engine_tokenizer(native.engine) is None
    assert native.lib.engine_tokenizer_error(native.engine) == 0


def test_damaged_tables_refuse_no_model_and_are_forgotten_with_it(native: Native, editor: ImageEditor) -> None:
    start, _ = editor.sections[SectionId.BPE]
    damaged = edited(editor, start, b"\xff")
    assert refusal(native, damaged) == 13
    native.verify()
    assert native.step([(0, 0, 1, 1)]).shape == (1, native.info.vocab)
    assert refusal(native, editor.sealed()) == 0
    assert refusal(native, damaged) == 13


@pytest.fixture(scope="module", params=["llama3", "sentencepiece"])
def editor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageEditor:
    path = tmp_path_factory.mktemp("bpe") / "tiny.hsp"
    tiny_image(path, image_source(described(request.param)))
    return ImageEditor(path.read_bytes())


def edited(editor: ImageEditor, at: int, data: bytes) -> bytes:
    copy = ImageEditor(bytes(editor.data), dict(editor.sections))
    copy.data[at : at + len(data)] = data
    return copy.sealed()


def refusal(native: Native, image: bytes) -> int:
    """The number of the error that the tables' first use ends with; 0 where they are good."""
    try:
        Device(native, image)
    except DeviceFailure as error:
        return error.number
    return 0


@pytest.mark.parametrize("field", [sub.name for sub in Bpe.subcons])
@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_every_number_of_the_head_is_checked(native: Native, editor: ImageEditor, field: str, value: int) -> None:
    start, _ = editor.sections[SectionId.BPE]
    head = Bpe.parse(bytes(editor.data[start:]))
    changed = Bpe.build({**head, field: value})
    harmless = {
        "split": value <= 4,
        "end_id": value < head.vocab or value == 0xFFFFFFFF,
        "flags": value < 32,
        "next_bytes": value == head.next_bytes,
    }
    image = edited(editor, start, changed)
    if harmless.get(field, False):
        Device(native, image).encode("any text 123")
        return
    assert refusal(native, image) == 13


class Tables:
    """Where the tables of a BPE section lie."""

    def __init__(self, editor: ImageEditor) -> None:
        self.head, _ = editor.sections[SectionId.BPE]
        head = Bpe.parse(bytes(editor.data[self.head :]))
        self.vocab, self.text_bytes = int(head.vocab), int(head.text_bytes)
        self.bytes = self.head + Bpe.sizeof()
        self.offsets = self.bytes + 4 * BPE_BYTES
        self.merges = self.offsets + 4 * (self.vocab + 1)
        self.sorted = self.merges + head.merge_count * BpeMerge.sizeof()
        self.added = self.sorted + 4 * head.sorted_count


def word(value: int) -> bytes:
    return value.to_bytes(4, "little")


def twice(editor: ImageEditor, at: int, size: int) -> tuple[int, bytes]:
    """The first record of a table again as its second."""
    return at + size, bytes(editor.data[at : at + size])


WRONG: dict[str, Callable[[ImageEditor, Tables], tuple[int, bytes]]] = {
    "a byte behind the vocabulary": lambda _, t: (t.bytes, word(t.vocab)),
    "a text before the texts": lambda _, t: (t.offsets, word(1)),
    "texts that end too early": lambda _, t: (t.offsets + 4 * t.vocab, word(t.text_bytes - 1)),
    "texts that end too late": lambda _, t: (t.offsets + 4 * t.vocab, word(t.text_bytes + 1)),
    "a left half behind the vocabulary": lambda _, t: (t.sorted - 16, word(t.vocab)),
    "a right half behind the vocabulary": lambda _, t: (t.sorted - 12, word(t.vocab)),
    "a merge without a rank": lambda _, t: (t.merges + 8, word(NO_TENSOR)),
    "a merge to behind the vocabulary": lambda _, t: (t.merges + 12, word(t.vocab)),
    "a pair twice": lambda editor, t: twice(editor, t.merges, BpeMerge.sizeof()),
    "a sorted id behind the vocabulary": lambda _, t: (t.added - 4, word(t.vocab)),
    "a sorted text twice": lambda editor, t: twice(editor, t.sorted, 4),
    "an added id behind the vocabulary": lambda _, t: (t.added, word(t.vocab)),
    "a flag that nobody knows": lambda _, t: (t.added + 4, word(2)),
    "an end behind the vocabulary": lambda _, t: (t.bytes - 4, word(t.vocab)),
}


@pytest.mark.parametrize("what", WRONG)
def test_every_table_is_checked(native: Native, editor: ImageEditor, what: str) -> None:
    assert refusal(native, edited(editor, *WRONG[what](editor, Tables(editor)))) == 13


def test_tables_of_any_bytes_are_refused_or_harmless(native: Native, editor: ImageEditor) -> None:
    start, size = editor.sections[SectionId.BPE]
    rng, refused = random.Random(4), 0
    for _ in range(400):
        at = start + rng.randrange(size - 4)
        value = rng.choice((0, 1, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32)))
        image = edited(editor, at, value.to_bytes(4, "little"))
        number = refusal(native, image)
        assert number in (0, 13)
        refused += number == 13
        for text in (CORPUS[0], CORPUS[2], "\xff<|im_end|>") if not number else ():
            device = Device(native, image)
            device.decode(device.encode(text))
    assert 100 < refused < 400


def test_a_shorter_section_is_refused(native: Native, editor: ImageEditor) -> None:
    _, size = editor.sections[SectionId.BPE]
    for shorter in (1, 4, 100, size - 1, size):
        copy = ImageEditor(bytes(editor.data), dict(editor.sections))
        copy.section(SectionId.BPE, size=size - shorter)
        assert refusal(native, copy.sealed()) in (13, 6)


def test_classes_are_the_librarys() -> None:
    found = gen_unicode.class_of_each()
    assert [found[ord(c)] for c in "aZ5 _\n\u00e9\u00bd\u3000\u0301\U00011de0"] == [1, 1, 2, 3, 0, 3, 1, 2, 3, 0, 4]
    number, digit = gen_unicode.NUMBER, gen_unicode.DIGIT
    sample = [c for c in range(0x100, 0x20000, 7) if found[c] in (number, digit)]
    assert len(sample) > 100
    assert gen_unicode.digits("".join(map(chr, sample))) == set(sample)
