# SPDX-License-Identifier: Apache-2.0
"""Tokenizers rebuilt from GGUF metadata and found in folders; chat turns; text that streams."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Library

from host.errors import SourceError
from host.files.source import Tokenizer
from host.model import load_source
from host.tokens.chat_template import ChatFormatter, ChatTemplate, TextStream, encode_prompt
from host.tokens.gguf_tokenizer import gguf_tokenizer
from host.tokens.splits import BY_NAME
from host.tokens.tokenizer import load_tokenizer
from tests.support.model_files import write_folder, write_gguf
from tests.support.tiny import tiny_llama

SPACE = "\u2581"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for bytes in byte-level BPE, by byte."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return [chr(byte) if byte in kept else chr(256 + others.index(byte)) for byte in range(256)]


def byte_level(pre: str = "gpt-2", **more: Any) -> dict[str, Any]:
    """Metadata of a byte-level vocabulary with a few merges and ChatML tokens."""
    merges = ["h e", "l l", "he ll", "\u0120 w", "1 2", "12 3", "\u00c3 \u00bc"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_alphabet()]
    tokens += [merge.replace(" ", "") for merge in merges]
    metadata = {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": [3, 3, 3] + [1] * (len(tokens) - 3),
        "merges": merges,
        "bos_token_id": 1,
        "eos_token_id": 2,
    } | more
    found = {f"tokenizer.ggml.{key}": value for key, value in metadata.items() if value is not None}
    return found | {"tokenizer.chat_template": CHATML}


def made(metadata: dict[str, Any]) -> Tokenizer:
    tokenizer = gguf_tokenizer(metadata, "m.gguf")
    assert tokenizer is not None
    return tokenizer


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    library = Library.from_str(tokenizer.json)
    return [library.decode([index], skip_special_tokens=False) for index in library.encode(text).ids]


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("gpt-2", ["hell", "o", " w", "123", "4"]),
        ("smollm", ["hell", "o", " w", "1", "2", "3", "4"]),
        ("llama-bpe", ["hell", "o", " w", "123", "4"]),
        ("qwen2", ["hell", "o", " w", "1", "2", "3", "4"]),
        ("default", ["hell", "o", " w", "123", "4"]),
    ],
)
def test_pre_tokenizers_split_digits_as_their_models_do(pre: str, expected: list[str]) -> None:
    assert words(made(byte_level(pre)), "hello w1234") == expected


@pytest.mark.parametrize("pre", sorted(BY_NAME))
def test_every_pre_tokenizer_gives_the_text_back(pre: str) -> None:
    tokenizer = Library.from_str(made(byte_level(pre)).json)
    text = "He'll say \u201egr\u00fc\u00df\u201c 1234 \u6f22\u5b57\U0001f389\n\n  x<|im_end|>"
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    assert tokenizer.encode("a<|im_end|>").ids[-1] == 2


def test_llama3_takes_whole_words_before_merges() -> None:
    metadata = byte_level("llama-bpe")
    metadata["tokenizer.ggml.tokens"].append("zzz")
    metadata["tokenizer.ggml.token_type"].append(1)
    assert words(made(metadata), "zzz") == ["zzz"]
    metadata["tokenizer.ggml.pre"] = "gpt-2"
    assert words(made(metadata), "zzz") == ["z", "z", "z"]


def test_ids_and_template_come_from_the_metadata() -> None:
    tokenizer = made(byte_level(eot_token_id=5))
    assert tokenizer.bos == 1
    assert tokenizer.stop_ids == (2, 5, 0)
    assert tokenizer.special == {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    assert tokenizer.chat_template == CHATML
    assert tokenizer.add_bos is False
    assert encode_prompt(tokenizer, "h") == encode_prompt(made(byte_level(add_bos_token=True)), "h")[1:]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"pre": "klingon"}, "'klingon' is not known"),
        ({"model": "rwkv"}, "'rwkv' is not supported"),
        ({"tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": ["a", "a"], "token_type": [1, 1]}, "'a' stands in the vocabulary twice"),
        ({"tokens": ["a", "\udcff"], "token_type": [1, 1]}, "not UTF-8"),
        ({"token_type": [1]}, "one number for each"),
        ({"merges": ["a b c"]}, "no pair"),
        ({"merges": ["never seen"]}, "damaged"),
        ({"eos_token_id": 10**6}, "eos_token_id"),
    ],
)
def test_damaged_vocabularies_are_refused(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(SourceError) as caught:
        gguf_tokenizer(byte_level(**change), "m.gguf")
    assert expected in str(caught.value)


# ---- SentencePiece ----


def pieces() -> dict[str, Any]:
    """Metadata of a SentencePiece vocabulary whose scores are not in the order of its ids."""
    merged = ["he", "ll", "hell", "hello", SPACE + "h", SPACE + "hello", "lo", "ello"]
    single = [SPACE, *"helowrd"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *single, *merged]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (len(single) + len(merged))
    scores = [0.0] * 259 + [-100.0 - i for i in range(len(single))]
    scores += [-3.0, -1.0, -4.0, -6.0, -2.0, -9.0, -0.5, -5.0]
    metadata = {"model": "llama", "tokens": tokens, "token_type": kinds, "scores": scores, "bos_token_id": 1}
    metadata |= {"eos_token_id": 2, "unknown_token_id": 0}
    return {f"tokenizer.ggml.{key}": value for key, value in metadata.items()}


def by_scores(metadata: dict[str, Any], text: str) -> list[str]:
    """SentencePiece's BPE as its paper describes it: merge the pair whose piece scores best, leftmost first."""
    tokens, scores = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.scores"]
    score = {token: scores[i] for i, token in enumerate(tokens) if metadata["tokenizer.ggml.token_type"][i] == 1}
    symbols = list(SPACE + text.replace(" ", SPACE))
    while True:
        pairs = [(-score[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(symbols)) if a + b in score]
        if not pairs:
            return symbols
        _, at = min(pairs)
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


def test_sentence_piece_merges_by_score() -> None:
    metadata = pieces()
    library = Library.from_str(made(metadata).json)
    rng = random.Random(3)
    for _ in range(300):
        text = "".join(rng.choice("helo w") for _ in range(rng.randrange(1, 14)))
        assert library.encode(text).tokens == by_scores(metadata, text), text
        assert library.decode(library.encode(text).ids) == text


def test_sentence_piece_falls_back_to_bytes() -> None:
    tokenizer = made(pieces())
    assert tokenizer.add_bos
    ids = encode_prompt(tokenizer, "h\u00fc")
    assert ids[0] == 1
    assert ids[-2:] == [3 + 0xC3, 3 + 0xBC]
    stream = TextStream(tokenizer)
    assert "".join(stream.push(index) for index in ids) + stream.finish() == "h\u00fc"


# ---- folders ----


def test_vocab_and_merges_are_a_tokenizer(tmp_path: Path) -> None:
    metadata = byte_level()
    tokens = metadata["tokenizer.ggml.tokens"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(metadata["tokenizer.ggml.merges"]) + "\n")
    tokenizer = load_tokenizer(tmp_path, {"bos_token_id": 0, "eos_token_id": 0})
    assert tokenizer is not None
    assert tokenizer.stop_ids == (0,)
    assert words(tokenizer, "hello w<|endoftext|>") == ["hell", "o", " w", "<|endoftext|>"]


def test_stop_ids_and_template_of_a_folder(tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
    (folder / "chat_template.jinja").write_text("from the file")
    tokenizer = load_source(folder).tokenizer
    assert tokenizer is not None
    assert tokenizer.stop_ids == (7, 9, 2)
    assert tokenizer.bos == 1
    assert tokenizer.chat_template == "from the file"


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path)
    for text in ("{", "[]", '{"model": {"type": "BPE"}}'):
        (folder / "tokenizer.json").write_text(text)
        with pytest.raises(SourceError, match=r"tokenizer\.json"):
            load_source(folder)


def test_a_gguf_without_a_vocabulary(tmp_path: Path) -> None:
    path = write_gguf(tiny_llama(), tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes().replace(b"tokenizer.ggml.model", b"tokenizer.ggml.modem"))
    with pytest.raises(SourceError, match="no tokenizer"):
        load_source(path)


# ---- chat ----


def test_a_turn_sends_only_what_is_new() -> None:
    tokenizer = made(byte_level())
    library = Library.from_str(tokenizer.json)
    formatter = ChatFormatter(tokenizer)
    talk = [{"role": "user", "content": "hell"}]
    first = formatter.turn(talk)
    assert first.restart
    assert library.decode(first.ids, skip_special_tokens=False) == ChatTemplate(CHATML, {}).render(talk)
    answer = library.encode("ww").ids
    formatter.answered(answer)
    talk += [{"role": "assistant", "content": "ww"}, {"role": "user", "content": "12"}]
    second = formatter.turn(talk)
    assert not second.restart
    whole = library.decode([*first.ids, *answer, *second.ids], skip_special_tokens=False)
    assert whole == ChatTemplate(CHATML, {}).render(talk)
    assert second.ids[0] == 2


def test_a_stop_token_that_the_session_took_in_is_not_sent_again() -> None:
    tokenizer = made(byte_level())
    formatter = ChatFormatter(tokenizer)
    talk = [{"role": "user", "content": "h"}]
    formatter.turn(talk)
    formatter.answered([*Library.from_str(tokenizer.json).encode("w").ids, 2])
    talk += [{"role": "assistant", "content": "w"}, {"role": "user", "content": "h"}]
    turn = formatter.turn(talk)
    assert not turn.restart
    assert turn.ids[0] != 2


def test_a_changed_past_is_a_restart() -> None:
    formatter = ChatFormatter(made(byte_level()))
    formatter.turn([{"role": "user", "content": "h"}])
    formatter.answered([])
    assert formatter.turn([{"role": "user", "content": "other"}]).restart
    formatter.reset()
    assert formatter.turn([{"role": "user", "content": "other"}]).restart


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 1", "cannot be read"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[9].content.x }}", "fails on this conversation"),
        ("{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}", "fuel"),
    ],
)
def test_templates_that_fail_say_why(template: str, expected: str) -> None:
    with pytest.raises(SourceError) as caught:
        ChatTemplate(template, {}).render([{"role": "user", "content": "h"}])
    assert expected in str(caught.value)


def test_templates_have_what_hugging_face_gives_them() -> None:
    template = (
        "{% generation %}{{ bos_token }}{% endgeneration %}\n"
        "  {% if true %}\n{{ messages[0]['content'].strip() | tojson }}{% endif %}{{ strftime_now('%Y') | length }}"
    )
    text = ChatTemplate(template, {"bos_token": "<s>"}).render([{"role": "user", "content": ' <a> & "b" '}])
    assert text == '<s>"<a> & \\"b\\""4'


def test_no_template_says_what_to_do() -> None:
    tokenizer = made(byte_level())
    tokenizer.chat_template = None
    with pytest.raises(SourceError, match="host run"):
        ChatFormatter(tokenizer)


def test_characters_split_over_tokens_stream_whole() -> None:
    tokenizer = made(byte_level())
    library = Library.from_str(tokenizer.json)
    text = "hell\u00fc \u6f22\U0001f1e9\U0001f1ea\ufdfd w"
    stream = TextStream(tokenizer)
    out = [stream.push(index) for index in library.encode(text).ids]
    assert "".join(out) + stream.finish() == text
    assert "\ufffd" not in "".join(out)
    rng = random.Random(5)
    for _ in range(100):
        ids = [rng.randrange(library.get_vocab_size()) for _ in range(24)]
        assert "".join([*map(stream.push, ids), stream.finish()]) == library.decode(ids)


def test_half_a_character_at_the_end_is_shown_as_such() -> None:
    stream = TextStream(made(byte_level()))
    assert stream.push(3 + 0xE6) == ""
    assert stream.finish() == "\ufffd"
    assert stream.finish() == ""
