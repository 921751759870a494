# SPDX-License-Identifier: Apache-2.0
"""Unigram: the best sum of scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import Builder, Model, by_text
from host.image.text.models.bpe import byte_tokens, pieces
from host.image.text.pattern import Unsupported
from host.schema.image import NO_TENSOR
from host.schema.tokens import TokenModel, TokensFlag

TYPES = ("Unigram",)
UNKNOWN_PENALTY = 10.0
"""What the library takes from the worst score for a character that is no token."""


def tables(builder: Builder, facts: Mapping[str, Any]) -> Model:
    """Every piece is found as it is written, those of bytes, too."""
    model = facts["model"]
    vocab, unknown = model["vocab"], model["unk_id"]
    if unknown is None or not vocab:
        raise Unsupported("its Unigram has no unknown token")
    scores = [float(score) for _, score in vocab]
    if max(scores) > 0.0:
        raise Unsupported("its Unigram has scores above 0")
    # Of pieces that stand there twice the library finds the last.
    index = {piece: number for number, (piece, _) in enumerate(vocab)}
    texts, found = pieces(builder, {number: piece for number, (piece, _) in enumerate(vocab)})
    byte_ids = byte_tokens(index) if model.get("byte_fallback") else None
    flags = TokensFlag.FUSE_UNKNOWN | (TokensFlag.FALLBACK if byte_ids else 0)
    ordered = by_text({number: texts[number] for number in found})
    return Model(
        TokenModel.UNIGRAM,
        flags,
        texts,
        ordered,
        byte_ids=byte_ids or [NO_TENSOR] * 256,
        scores=scores,
        unknown=unknown,
        unknown_score=min(scores) - UNKNOWN_PENALTY,
    )
