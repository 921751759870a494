# SPDX-License-Identifier: Apache-2.0
"""Tokenizers in GGUFs: names of splits or none, equal scores, kinds of pieces, what texts start with.

What is right was measured beside llama.cpp (llama-cpp-python 0.3.36) on 300 random texts a kind; the references of
tests/support/strings.py were equal to it everywhere but where the docstring of a test says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Library

from host.errors import SourceError
from host.files.source import Tokenizer
from host.image.device_text import why_no_terminal
from host.tokens.chat_template import encode_prompt
from host.tokens.gguf_tokenizer import gguf_tokenizer
from host.tokens.splits import GPT2, SPLITS, Split
from host.tokens.tokenizer import codec_of
from tests.support.device_tokenizer import Device, image_source
from tests.support.native import Native
from tests.support.strings import (
    ByteReference,
    PieceReference,
    byte_characters,
    gguf_bytes,
    gguf_pieces,
    random_texts,
)
from tests.support.tiny import tiny_image

SPACE = "\u2581"
RUNS = {SPACE * 2: 4, SPACE * 3: 4, SPACE * 4: 4}


def made(metadata: dict[str, Any]) -> Tokenizer:
    tokenizer = gguf_tokenizer(metadata, "m.gguf")
    assert tokenizer is not None
    return tokenizer


def pieces(metadata: dict[str, Any], text: str) -> list[str]:
    tokens = metadata["tokenizer.ggml.tokens"]
    return [tokens[index] for index in codec_of(made(metadata)).encode(text)]


def patterns(split: Split) -> list[str]:
    return ([r"\p{N}"] if split.digits else []) + list(split.patterns or [GPT2])


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.names[0])
def test_every_split_cuts_the_text_as_its_patterns_say(split: Split) -> None:
    """llama.cpp differs for tekken and gpt-4o, whose patterns it approximates, and does not compose to NFC."""
    pytest.importorskip("regex")
    metadata = gguf_bytes(split.names[0])
    reference, codec = ByteReference(metadata, patterns(split), split.whole_words, split.nfc), codec_of(made(metadata))
    for text in random_texts(11, 50):
        assert codec.encode(text) == reference.encode(text), repr(text)


CUT = "Hi, IT's aB 12345 12 x\u00b2!?\n\n  \u0434\u043e\u6771\u4eac n\u0303o"
CUTS = {
    "gpt-2": "Hi|,| IT|'s| aB| 12345| 12| x|\xb2|!?|\n\n | \u0434\u043e\u6771\u4eac| n|\u0303|o",
    "smollm": "Hi|,| IT|'s| aB| |1|2|3|4|5| |1|2| x|\xb2|!?|\n\n | \u0434\u043e\u6771\u4eac| n|\u0303|o",
    "llama-bpe": "Hi|,| IT|'s| aB| |123|45| |12| x|\xb2|!?\n\n| | \u0434\u043e\u6771\u4eac| n|\u0303o",
    "smaug-bpe": "Hi|,| IT|'s| aB| |123|45| |12| x|\xb2|!?\n\n| | \u0434\u043e\u6771\u4eac| n|\u0303o",
    "glm4": "Hi|,| IT|'s| aB| |123|45| |12| x|\xb2|!?\n\n| | \u0434\u043e\u6771\u4eac| n|\u0303o",
    "qwen2": "Hi|,| IT|'s| aB| |1|2|3|4|5| |1|2| x|\xb2|!?\n\n| | \u0434\u043e\u6771\u4eac| n|\u0303o",
    "hunyuan": "Hi|,| IT|'s| aB| |1|2|3|4|5| |1|2| x|\xb2|!?\n\n| | \u0434\u043e\u6771\u4eac| n|\u0303o",
    "qwen35": "Hi|,| IT|'s| aB| |1|2|3|4|5| |1|2| x|\xb2|!?\n\n| | \u0434\u043e\u6771\u4eac| n\u0303o",
    "tekken": "Hi|,| IT|'s| a|B| |1|2|3|4|5| |1|2| x|\xb2|!?\n\n| | \u0434\u043e\u6771\u4eac| n\u0303o",
    "gpt-4o": "Hi|,| IT's| a|B| |123|45| |12| x|\xb2|!?\n\n| | \u0434\u043e\u6771\u4eac| n\u0303o",
    "deepseek-llm": "Hi|,| IT|'|s| aB| |12345| |12| x|\xb2|!?|\n|\n| | \u0434\u043e|\u6771\u4eac| n|\u0303|o",
    "falcon": "Hi|,| IT|'|s| aB| |123|45| 12| x|\xb2|!?|\n\n | \u0434\u043e\u6771\u4eac| n|\u0303|o",
    "deepseek-coder": "Hi|,| IT|'|s| aB| |1|2|3|4|5| |1|2| x|\xb2|!?|\n|\n| | \u0434\u043e|\u6771\u4eac| n|\u0303|o",
    "deepseek-v3": "Hi|,| IT|'s| aB| |123|45| |12| x|\xb2|!?\n\n| | \u0434\u043e|\u6771\u4eac| n\u0303o",
    "bailingmoe": "Hi|,| IT|'s| aB| |1|2|3|4|5| |1|2| x|\xb2|!?\n\n| | \u0434\u043e\u6771\u4eac| n|\u0303o",
    "seed-coder": "Hi|,| IT|'s| aB| |1|2|3|4|5| |1|2| x|\xb2|!?|\n\n| | \u0434\u043e\u6771\u4eac| n|\u0303o",
    "minicpm5": "Hi|,| IT|'s| aB| |123|45| |12| x|\xb2|!?\n\n| | \u0434\u043e\u6771\u4eac| n|\u0303o",
    "bloom": "Hi|,| IT's| aB| 12345| 12| x\xb2|!?\n\n | \u0434\u043e\u6771\u4eac| n\u0303o",
    "viking": "Hi|,| IT's| aB| |1|2|3|4|5| |1|2| x|\xb2|!?\n\n | \u0434\u043e\u6771\u4eac| n\u0303o",
    "default": "Hi|,| IT|'|s| aB| |123|45| |12| x|\xb2|!?|\n\n | \u0434\u043e\u6771\u4eac| n|\u0303|o",
}


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.names[0])
def test_every_split_has_its_patterns(split: Split) -> None:
    library = Library.from_str(made(gguf_bytes(split.names[0])).json)
    by_character = {character: byte for byte, character in enumerate(byte_characters())}
    pieces = [bytes(by_character[c] for c in piece) for piece, _ in library.pre_tokenizer.pre_tokenize_str(CUT)]
    assert "|".join(piece.decode() for piece in pieces) == CUTS[split.names[0]]


def test_without_a_name_a_word_is_one_piece_in_any_script() -> None:
    """The bytes of these letters have stand-ins that are Unicode numbers; cuts are made on the text, not on them."""
    unnamed, gpt2 = codec_of(made(gguf_bytes(None))), codec_of(made(gguf_bytes("gpt-2")))
    words = [
        "\u0432\u043e\u0434\u0430",
        "\u03ba\u03cc\u03c3\u03bc\u03b5",
        "\u6771\u4eac\u90fd",
        "\u0e2a\u0e27\u0e31",
        "m\u00b2",
    ]
    for word in words:
        assert unnamed.encode(word) == gpt2.encode(word)
    assert unnamed.encode("1999") != gpt2.encode("1999") or unnamed.encode("12345") != gpt2.encode("12345")
    assert made(gguf_bytes(None)).json == made(gguf_bytes("default")).json


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("falcon3", "llama-bpe"),
        ("pixtral", "llama-bpe"),
        ("lfm2", "llama-bpe"),
        ("minerva-7b", "smollm"),
        ("exaone", "smollm"),
        ("mpt", "gpt-2"),
        ("trillion", "gpt-2"),
        ("llama4", "gpt-4o"),
    ],
)
def test_names_of_known_splits_are_those(name: str, like: str) -> None:
    assert made(gguf_bytes(name)).json == made(gguf_bytes(like)).json


def test_smaug_splits_as_llama3_but_takes_no_whole_words() -> None:
    assert made(gguf_bytes("smaug-bpe")).json.replace('"ignore_merges":false', '"ignore_merges":true') == (
        made(gguf_bytes("llama-bpe")).json
    )


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SourceError, match=r"'kling'.* gpt-2, .*tekken.*tokenizer\.json"):
        made(gguf_bytes("kling"))


@pytest.mark.parametrize("name", ["gpt-2", "smollm", "llama-bpe", "smaug-bpe", "qwen2", "deepseek-coder", "viking"])
def test_the_device_has_the_tables_of_splits_that_it_knows(name: str, native: Native, tmp_path: Path) -> None:
    tokenizer = made(gguf_bytes(name))
    tiny_image(tmp_path / "tiny.hsp", image_source(tokenizer))
    device, codec = Device(native, tmp_path / "tiny.hsp"), codec_of(tokenizer)
    for text in random_texts(12, 60):
        if len(text.encode()) <= 4096:
            assert device.encode(text) == codec.encode(text), repr(text)


# ---- what texts start with ----


@pytest.mark.parametrize("name", [*(split.names[0] for split in SPLITS), "falcon3", "pixtral"])
def test_names_say_whether_texts_start_with_bos(name: str) -> None:
    bos = name in {"llama-bpe", "falcon3", "pixtral", "tekken"}
    assert (encode_prompt(made(gguf_bytes(name)), "a")[0] == 3) == bos
    for wanted in (True, False):
        assert (encode_prompt(made(gguf_bytes(name, add_bos_token=wanted)), "a")[0] == 3) == wanted


def test_sentence_piece_has_its_ids_without_keys() -> None:
    metadata = gguf_pieces()
    for key in ("bos", "eos", "unknown"):
        del metadata[f"tokenizer.ggml.{key}_token_id"]
    tokenizer = made(metadata)
    assert encode_prompt(tokenizer, "the")[0] == 1
    assert tokenizer.stop_ids[0] == 2
    assert tokenizer.special == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


# ---- pieces ----


@pytest.mark.parametrize("scores", ["ranked", "equal", "groups", "none"])
@pytest.mark.parametrize("kinds", [{}, {"the": 5, "==": 5}, RUNS], ids=["normal", "unused", "user-defined"])
def test_pieces_merge_by_score_the_leftmost_first(scores: str, kinds: dict[str, int]) -> None:
    metadata = gguf_pieces(kinds, scores)
    reference, codec = PieceReference(metadata), codec_of(made(metadata))
    for text in [*random_texts(13, 40), "===", "======", "......", "a   b", "aaaaaaa", "abababa", " ", "    in", ""]:
        assert codec.encode(text) == reference.encode(text), repr(text)


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("scores", ["equal", "groups"])
@pytest.mark.parametrize("kinds", [{"the": 5}, RUNS], ids=["unused", "user-defined"])
def test_the_device_merges_them_the_same(
    scores: str, prefix: bool, kinds: dict[str, int], native: Native, tmp_path: Path
) -> None:
    tokenizer = made(gguf_pieces(kinds, scores, prefix))
    tiny_image(tmp_path / "tiny.hsp", image_source(tokenizer))
    device, codec = Device(native, tmp_path / "tiny.hsp"), codec_of(tokenizer)
    for text in [*random_texts(14, 120), "=====", "aaaaaaa", "a   b", "<unk>x"]:
        if len(text.encode()) <= 4096:
            assert device.encode(text) == codec.encode(text), repr(text)


def test_equal_scores_merge_from_the_left() -> None:
    for scores in ("equal", "none"):
        metadata = gguf_pieces({}, scores)
        assert pieces(metadata, "===") == [SPACE + "==", "="]
        assert pieces(metadata, "......") == [SPACE, "...", "..."]


def test_unknown_pieces_are_found_in_the_text() -> None:
    assert pieces(gguf_pieces(), "a<unk>b") == [SPACE + "a", "<unk>", SPACE, "b"]
    assert 0 in codec_of(made(gguf_bytes("gpt-2", token_type=[2] + [1] * 899))).encode("a<|endoftext|>")


def test_what_the_tables_cannot_hold_is_said() -> None:
    long = gguf_pieces()
    long["tokenizer.ggml.tokens"][-1] = "a" * 65
    assert "has 65 characters" in (why_no_terminal(made(long)) or "")
    odd = gguf_pieces()
    odd["tokenizer.ggml.tokens"][-1] = "a\u00f1"
    assert "has characters that are no pieces" in (why_no_terminal(made(odd)) or "")
    reference, codec = PieceReference(odd), codec_of(made(odd))
    assert codec.encode("aa\u00f1a") == reference.encode("aa\u00f1a")


def test_scores_that_are_no_numbers_are_refused() -> None:
    metadata = gguf_pieces()
    metadata["tokenizer.ggml.scores"][5] = float("nan")
    with pytest.raises(SourceError, match="no number"):
        made(metadata)
