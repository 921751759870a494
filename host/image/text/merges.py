# SPDX-License-Identifier: Apache-2.0
"""What BPE's tables are made of, in both sections."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from host.image.text.pattern import Unsupported
from host.schema.image import BPE_BYTES, NO_TENSOR
from host.tokens.gguf_tokenizer import MAX_MERGES_A_PIECE


def byte_characters() -> dict[str, int]:
    """The characters that stand for bytes in byte-level BPE, as GPT-2 chose them."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {chr(byte) if byte in kept else chr(256 + others.index(byte)): byte for byte in range(256)}


def byte_level_texts(vocab: Mapping[str, int]) -> dict[int, bytes]:
    """Id to bytes as they stand in a text."""
    known = byte_characters()
    of_bytes = re.compile(f"[{re.escape(''.join(known))}]*")
    table = str.maketrans({character: chr(byte) for character, byte in known.items()})
    return {
        index: token.translate(table).encode("latin-1") if of_bytes.fullmatch(token) else token.encode()
        for token, index in vocab.items()
    }


def own_bytes(model: Mapping[str, Any]) -> list[int]:
    """The token of each byte of a byte-level BPE. Raises Unsupported."""
    by_byte = {byte: character for character, byte in byte_characters().items()}
    found = [model["vocab"].get(by_byte[byte], NO_TENSOR) for byte in range(BPE_BYTES)]
    if NO_TENSOR in found and model.get("unk_token") is not None:
        raise Unsupported("its vocabulary has no token for some bytes")
    return found


def merge_records(model: Mapping[str, Any], ranks: Sequence[int] | None) -> list[tuple[int, int, int, int]]:
    """The fields of BpeMerge, ascending by the pair."""
    vocab = model["vocab"]
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for place, merge in enumerate(model["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        merged = vocab.get(left + right)
        if merged is None:
            raise Unsupported(f"its merge of {left} and {right} makes no token")
        found[vocab[left], vocab[right]] = (place if ranks is None else ranks[merged], merged)
    return [(*pair, *merge) for pair, merge in sorted(found.items())]


def check_pieces(vocab: Mapping[str, int], added: Sequence[Mapping[str, Any]]) -> None:
    """Raises Unsupported where pieces with ranks are made of more than pairs of tokens, which the tables hold."""
    special = {token["content"] for token in added}
    for piece in vocab:
        if (len(piece) == 6 and piece.startswith("<0x")) or piece in special:
            continue
        if len(piece) > MAX_MERGES_A_PIECE:
            raise Unsupported(f"a piece of it has {len(piece)} characters")
        if len(piece) > 1 and not all(character in vocab for character in piece):
            raise Unsupported(f"its piece {piece} has characters that are no pieces")
