# SPDX-License-Identifier: Apache-2.0
"""The BPE section: what a device needs to tokenize a line that somebody typed, and to frame it as a question.

The host's tokenizer is the authority; this is the part of it that fits tables and a few state machines, which every
firmware has. A tokenizer that does not is refused with a reason: the section TOKENS (host/image/text) is for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from host.files.source import Tokenizer
from host.image.text.merges import byte_level_texts, check_pieces, merge_records, own_bytes
from host.image.text.pattern import Unsupported
from host.image.text.roles import Roles, find_roles
from host.schema.image import BPE_BYTES, MAX_ROLE_BYTES, NO_TENSOR, AddedFlag, Bpe, BpeFlag, Split
from host.schema.limits import LIMIT_ADDED, LIMIT_ADDED_BYTES, LIMIT_MERGES, LIMIT_TEXT_BYTES, LIMIT_TOKEN_BYTES
from host.tokens.splits import LLAMA3, QWEN2, SPACE
from host.tokens.tokenizer import Codec, codec_of

PATTERNS = {LLAMA3: Split.LLAMA3, QWEN2: Split.QWEN2}


MAX_IDS = 1 << 20
"""The largest known vocabularies have a quarter of it."""


def bpe_section(tokenizer: Tokenizer) -> bytes:
    """The section's bytes. Raises Unsupported, and the tokenizer's refusal where it is damaged."""
    library = codec_of(tokenizer)
    facts = library.facts()
    model = facts["model"]
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise Unsupported(f"its model is {model.get('type')}, not BPE")
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise Unsupported(f"its BPE has {key}")
    split, flags = _split(facts)
    characters = bool(flags & BpeFlag.CHARACTERS)
    if model.get("ignore_merges"):
        flags |= BpeFlag.WHOLE_WORDS
        if characters:
            raise Unsupported("its SentencePiece model takes whole words")
    texts = _texts(model["vocab"], characters)
    added = _added(facts, texts, characters)
    byte_ids = _byte_ids(model, characters)
    merges = merge_records(model, tokenizer.ranks)
    if tokenizer.ranks is not None:
        _check_added(model["vocab"], facts.get("added_tokens") or [])
        check_pieces(model["vocab"], facts.get("added_tokens") or [])
    _check_limits(texts, merges, added)
    listed = flags & (BpeFlag.WHOLE_WORDS | BpeFlag.CHARACTERS)
    ordered = _sorted(model["vocab"], texts, byte_ids, characters) if listed else []
    roles = find_roles(tokenizer)
    if not tokenizer.chat_template and tuple(library.encode(roles.first)) != tokenizer.start:
        raise Unsupported("what its texts start with cannot be written as text")
    if tokenizer.chat_template:
        flags |= BpeFlag.CHAT | (BpeFlag.TURNS if roles.next is not None else 0)
    return _build(split, flags, texts, byte_ids, merges, ordered, added, roles, library)


def _check_limits(
    texts: Mapping[int, bytes], merges: list[tuple[int, int, int, int]], added: list[tuple[int, int]]
) -> None:
    """Unsupported for what the firmware's limits.h does not hold."""
    longest = max((len(texts[index]) for index, _ in added), default=0)
    for what, value, limit in (
        ("merges", len(merges), LIMIT_MERGES),
        ("added tokens", len(added), LIMIT_ADDED),
        ("bytes in an added token", longest, LIMIT_ADDED_BYTES),
        ("bytes in a token", max(map(len, texts.values())), LIMIT_TOKEN_BYTES),
        ("bytes of text", sum(map(len, texts.values())), LIMIT_TEXT_BYTES),
    ):
        if value > limit:
            raise Unsupported(f"it has {value} {what}; the firmware takes {limit} at most")


def _build(
    split: Split,
    flags: int,
    texts: dict[int, bytes],
    byte_ids: list[int],
    merges: list[tuple[int, int, int, int]],
    ordered: list[int],
    added: list[tuple[int, int]],
    roles: Roles,
    library: Codec,
) -> bytes:
    count = max(texts, default=-1) + 1
    if not 0 < count <= MAX_IDS:
        raise Unsupported(f"its ids go up to {count - 1}" if count else "its vocabulary is empty")
    pieces = [texts.get(i, b"") for i in range(count)]
    offsets = [0]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    role_texts = [text.encode() for text in (roles.first, roles.end, roles.next or "", roles.suffix)]
    if sum(map(len, role_texts)) > MAX_ROLE_BYTES:
        raise Unsupported(f"its chat template puts more than {MAX_ROLE_BYTES} bytes around a question")
    end = library.encode(roles.end) if roles.end else []
    head: bytes = Bpe.build(
        {
            "split": split,
            "flags": flags,
            "vocab": count,
            "merge_count": len(merges),
            "sorted_count": len(ordered),
            "added_count": len(added),
            "text_bytes": offsets[-1],
            **{f"{name}_bytes": len(t) for name, t in zip(("first", "end", "next", "suffix"), role_texts, strict=True)},
            "end_id": end[0] if len(end) == 1 else NO_TENSOR,
        }
    )
    tables = [np.array(table, "<u4").tobytes() for table in (byte_ids, offsets, merges, ordered, added)]
    return b"".join([head, *tables, *pieces, *role_texts])


# ---- tables ----


def _split(facts: Mapping[str, Any]) -> tuple[Split, int]:
    """The way of splitting, and flags. Raises Unsupported."""
    normalizer, pre = facts.get("normalizer"), facts.get("pre_tokenizer")
    if pre is None and facts["model"].get("byte_fallback"):
        steps = normalizer["normalizers"] if normalizer and normalizer["type"] == "Sequence" else [normalizer]
        first = [{"type": "Prepend", "prepend": SPACE}]
        rest = [{"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]
        if steps not in (first + rest, rest):
            raise Unsupported("its normalizer is not SentencePiece's")
        return Split.NONE, BpeFlag.CHARACTERS | (BpeFlag.PREPEND_SPACE if len(steps) == 2 else 0)
    if normalizer is not None:
        raise Unsupported(f"its normalizer is {normalizer['type']}")
    steps = pre["pretokenizers"] if pre and pre["type"] == "Sequence" else [pre]
    return _known_split(steps), 0


def _known_split(steps: list[Any]) -> Split:
    kinds = [step["type"] if step else "missing" for step in steps]
    last = steps[-1] or {}
    if kinds[-1] == "ByteLevel" and not last.get("add_prefix_space"):
        own = last.get("use_regex", True)
        if kinds == ["ByteLevel"] and own:
            return Split.GPT2
        if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] and own:
            return Split.DIGITS
        if kinds == ["Split", "ByteLevel"] and not own and steps[0]["behavior"] == "Isolated":
            pattern = steps[0]["pattern"].get("Regex")
            if pattern in PATTERNS and not steps[0]["invert"]:
                return PATTERNS[pattern]
    raise Unsupported(f"its pre-tokenizer ({', '.join(kinds)}) is none that the device knows")


def _texts(vocab: Mapping[str, int], characters: bool) -> dict[int, bytes]:
    """Id to bytes as they stand in a text."""
    if characters:
        return {index: _piece(token).replace(SPACE.encode(), b" ") for token, index in vocab.items()}
    return byte_level_texts(vocab)


def _piece(token: str) -> bytes:
    """A SentencePiece token's text; <0x41> stands for a byte."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.encode()


def _byte_ids(model: Mapping[str, Any], characters: bool) -> list[int]:
    """The token of each byte: where merges begin, or what an unknown character becomes."""
    if not characters:
        return own_bytes(model)
    found = [model["vocab"].get(f"<0x{byte:02X}>", NO_TENSOR) for byte in range(BPE_BYTES)]
    if NO_TENSOR in found:
        raise Unsupported("its vocabulary has no token for some bytes")
    return found


def _check_added(vocab: Mapping[str, int], added: Sequence[Mapping[str, Any]]) -> None:
    """Raises Unsupported where an added token and a piece are written alike on the device."""
    for piece in {token["content"] for token in added} & vocab.keys():
        if SPACE in piece:
            raise Unsupported(f"its token {piece} is found before spaces become {SPACE}")


def _sorted(vocab: Mapping[str, int], texts: dict[int, bytes], byte_ids: list[int], characters: bool) -> list[int]:
    """Ids by their texts, each text once; of SentencePiece those of one character, less the bytes' own tokens."""
    ids = set(vocab.values())
    if characters:
        ids = {index for token, index in vocab.items() if len(token) == 1} - set(byte_ids)
    by_text = {texts[index]: index for index in sorted(ids, reverse=True)}
    return [by_text[text] for text in sorted(by_text)]


def _added(facts: Mapping[str, Any], texts: dict[int, bytes], characters: bool) -> list[tuple[int, int]]:
    """The fields of BpeAdded of the tokens that are found before anything else; their texts go into ``texts``."""
    found = []
    listed = [token for token in facts.get("added_tokens", []) if token["content"]]
    if len({bool(token["normalized"]) for token in listed}) > 1:
        raise Unsupported("its added tokens are found at two times")
    for token in listed:
        if any(token[key] for key in ("single_word", "lstrip", "rstrip")) or (characters and token["normalized"]):
            raise Unsupported(f"its token {token['content']} takes in what stands beside it")
        texts[token["id"]] = token["content"].encode()
        found.append((token["id"], int(AddedFlag.SPECIAL) if token["special"] else 0))
    return found
