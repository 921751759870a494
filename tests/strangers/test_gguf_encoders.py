# SPDX-License-Identifier: Apache-2.0
"""Tokenizers of encoders in a GGUF's metadata, as llama.cpp's converter writes them: BERT's WordPiece, T5's Unigram."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenizers import Tokenizer as Library

from host.errors import SourceError
from host.tokens.chat_template import encode_prompt
from host.tokens.gguf_tokenizer import gguf_tokenizer
from host.tokens.tokenizer import codec_of
from tests.support.charsmap import compatible
from tests.support.strings import wild_texts
from tests.support.texts import CORPUS, NASTY
from tests.support.token_families import FAMILIES, SPACE, word_piece

CONTROL, NORMAL = 3, 1


def metadata(library: Library, **more: Any) -> dict[str, Any]:
    """Its vocabulary in GGUF's keys; of WordPiece written as the converter writes it."""
    facts = json.loads(library.to_str())
    model, special = facts["model"], {token["content"] for token in facts["added_tokens"]}
    keys: dict[str, Any] = {"model": "t5" if model["type"] == "Unigram" else "bert"}
    if model["type"] == "Unigram":
        tokens = [piece for piece, _ in model["vocab"]] + ["<extra_id_0>"]
        keys |= {"scores": [score for _, score in model["vocab"]] + [0.0], "unknown_token_id": model["unk_id"]}
        keys |= {"precompiled_charsmap": list(compatible()), "remove_extra_whitespaces": True, "eos_token_id": 1}
    else:
        tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
        keys |= {
            name: tokens.index(token) for name, token in (("unknown_token_id", "[UNK]"), ("bos_token_id", "[CLS]"))
        }
    keys["token_type"] = [CONTROL if token in special else NORMAL for token in tokens]
    if model["type"] == "WordPiece":
        tokens = [
            token if token in special else token[2:] if token.startswith("##") else SPACE + token for token in tokens
        ]
    return {f"tokenizer.ggml.{key}": value for key, value in (keys | {"tokens": tokens} | more).items()}


@pytest.mark.parametrize("name", ["t5", "bert", "bert, cased"])
def test_it_gives_what_the_models_own_gives(name: str) -> None:
    library = word_piece(lowercase=False) if name == "bert, cased" else FAMILIES[name]()
    if name != "t5":  # the file has no flags of added tokens
        facts = json.loads(library.to_str())
        facts["added_tokens"] = [token | {"lstrip": False} for token in facts["added_tokens"]]
        library = Library.from_str(json.dumps(facts))
    tokenizer = gguf_tokenizer(metadata(library), "here")
    assert tokenizer is not None
    codec = codec_of(tokenizer)
    for text in [*NASTY, *CORPUS, *wild_texts(2, 150)]:
        assert codec.encode(text) == library.encode(text, add_special_tokens=False).ids, repr(text)
    start = [] if name == "t5" else [library.token_to_id("[CLS]")]
    assert encode_prompt(tokenizer, "the")[: len(start)] == start
    assert len(encode_prompt(tokenizer, "the")) == len(start) + len(codec.encode("the"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"precompiled_charsmap": [300]}, "holds no bytes"),
        ({"precompiled_charsmap": [1, 2]}, "damaged"),
        ({"scores": [float("nan")] * 4}, "4 tokens|one number|no number"),
        ({"unknown_token_id": 1 << 20}, "unknown_token_id"),
    ],
)
def test_what_is_damaged_is_said(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        gguf_tokenizer(metadata(FAMILIES["t5"](), **changed), "here")
