# SPDX-License-Identifier: Apache-2.0
"""WordPiece: the longest token at each place of a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import Builder, Model, by_text
from host.image.text.pattern import Unsupported
from host.schema.tokens import TokenModel, TokensFlag

TYPES = ("WordPiece",)
MAX_CHARACTERS = 128


def tables(builder: Builder, facts: Mapping[str, Any]) -> Model:
    """A token that begins a word is written with a space before it, one that goes on without its prefix."""
    model = facts["model"]
    prefix, vocab = model["continuing_subword_prefix"], model["vocab"]
    kinds = [spec["type"] for spec in builder.pretokenizers]
    if not prefix or prefix.strip("#"):
        raise Unsupported(f"its WordPiece goes on with {prefix!r}")
    if "BertPreTokenizer" not in kinds and "Punctuation" not in kinds:
        raise Unsupported("its words may begin as those do that go on")
    if model["unk_token"] not in vocab or model["max_input_chars_per_word"] > MAX_CHARACTERS:
        raise Unsupported("its WordPiece has no unknown token, or takes longer words than the device")
    texts = {
        index: (token.removeprefix(prefix) if token.startswith(prefix) else f" {token}").encode()
        for token, index in vocab.items()
    }
    return Model(
        TokenModel.WORD_PIECE,
        TokensFlag.STRIP_SPACE,
        texts,
        by_text(texts),
        unknown=vocab[model["unk_token"]],
        word_characters=model["max_input_chars_per_word"],
    )
