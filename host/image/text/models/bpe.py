# SPDX-License-Identifier: Apache-2.0
"""BPE, of bytes or of characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import Builder, Model, by_text
from host.image.text.merges import byte_level_texts, check_pieces, merge_records, own_bytes
from host.image.text.pattern import Unsupported
from host.schema.image import NO_TENSOR
from host.schema.tokens import TokenModel, TokensFlag

TYPES = ("BPE",)


def tables(builder: Builder, facts: Mapping[str, Any]) -> Model:
    """Bytes where the pre-tokenizer makes them, else characters, with bytes or an unknown token for those unknown."""
    model = facts["model"]
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise Unsupported(f"its BPE has {key}")
    vocab, whole = model["vocab"], bool(model.get("ignore_merges"))
    merges = merge_records(model, builder.ranks)
    flags = int(TokensFlag.WHOLE_WORDS) if whole else 0
    if any(spec["type"] == "ByteLevel" for spec in builder.pretokenizers):
        texts = byte_level_texts(vocab)
        ordered = by_text({index: texts[index] for index in vocab.values()}) if whole else []
        return Model(TokenModel.BPE, flags, texts, ordered, byte_ids=own_bytes(model), merges=merges)
    if whole:
        raise Unsupported("its SentencePiece model takes whole words")
    if builder.ranks is not None:
        check_pieces(vocab, facts.get("added_tokens") or [])
    texts, found = pieces(builder, {index: piece for piece, index in vocab.items()})
    byte_ids = byte_tokens(vocab) if model.get("byte_fallback") else None
    flags |= TokensFlag.CHARACTERS | (TokensFlag.FUSE_UNKNOWN if model.get("fuse_unk") else 0)
    flags |= TokensFlag.FALLBACK if byte_ids else 0
    single = {index: texts[index] for piece, index in vocab.items() if len(piece) == 1 and index in found}
    return Model(
        TokenModel.BPE,
        flags,
        texts,
        by_text(single),
        byte_ids=byte_ids or [NO_TENSOR] * 256,
        merges=merges,
        unknown=vocab.get(model.get("unk_token") or "", NO_TENSOR),
    )


def pieces(builder: Builder, vocab: Mapping[int, str]) -> tuple[dict[int, bytes], set[int]]:
    """Texts by id as they stand on the device, and the ids that a text can have."""
    texts = {index: builder.written(piece) for index, piece in vocab.items()}
    # A space in a piece is no U+2581, and none is left in the text.
    found = {index for index, piece in vocab.items() if not builder.marked or " " not in piece}
    return texts, found


def byte_tokens(vocab: Mapping[str, int]) -> list[int] | None:
    """The tokens <0x00> to <0xFF>; None where one is missing, for then none is used."""
    found = [vocab.get(f"<0x{byte:02X}>") for byte in range(256)]
    return None if None in found else [index for index in found if index is not None]
