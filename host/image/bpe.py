# SPDX-License-Identifier: Apache-2.0
"""The BPE section: what a device needs to tokenize a line that somebody typed, and to frame it as a question.

The host's tokenizer is the authority; this is the part of it that fits tables and a few state machines. A tokenizer
that does not is refused with a reason, and its image has no such section.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from host.errors import HostError
from host.files.source import Tokenizer
from host.schema.image import (
    BPE_BYTES,
    MAX_ROLE_BYTES,
    NO_TENSOR,
    AddedFlag,
    Bpe,
    BpeFlag,
    Split,
)
from host.schema.limits import LIMIT_ADDED, LIMIT_ADDED_BYTES, LIMIT_MERGES, LIMIT_TEXT_BYTES, LIMIT_TOKEN_BYTES
from host.tokens.chat_template import ChatTemplate
from host.tokens.gguf_tokenizer import MAX_MERGES_A_PIECE
from host.tokens.sandbox import SandboxError
from host.tokens.splits import LLAMA3, QWEN2, SPACE
from host.tokens.tokenizer import Codec, codec_of

PATTERNS = {LLAMA3: Split.LLAMA3, QWEN2: Split.QWEN2}


MAX_IDS = 1 << 20
"""The largest known vocabularies have a quarter of it."""


NOT_COMPOSED = (
    "the device does no NFC, so typed lines with decomposed or compatibility letters (as U+0958) "
    "may give other tokens than host run"
)


class Unsupported(Exception):
    """The tokenizer has something that the device does not know; the message says what."""


@dataclass(frozen=True)
class Roles:
    """The texts around a question; ``next`` is None where a conversation cannot go on."""

    first: str
    suffix: str
    end: str = ""
    next: str | None = None


def byte_characters() -> dict[str, int]:
    """The characters that stand for bytes in byte-level BPE, as GPT-2 chose them."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {chr(byte) if byte in kept else chr(256 + others.index(byte)): byte for byte in range(256)}


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
    merges = _merges(model, tokenizer.ranks)
    if tokenizer.ranks is not None:
        _check_pieces(model["vocab"], facts.get("added_tokens") or [])
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


def why_no_terminal(tokenizer: Tokenizer) -> str | None:
    """Why a device cannot tokenize for this model; None where it can."""
    try:
        bpe_section(tokenizer)
    except Unsupported as reason:
        return str(reason)
    return None


def may_differ(tokenizer: Tokenizer) -> bool:
    """Whether lines that are not composed give other tokens on a device than on the host: the device does no NFC."""
    normalizer = codec_of(tokenizer).facts().get("normalizer")
    return isinstance(normalizer, dict) and normalizer.get("type") == "NFC"


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
    # The device does no NFC: may_differ() says so to who packs and inspects.
    if normalizer is not None and normalizer["type"] != "NFC":
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
    known = byte_characters()
    of_bytes = re.compile(f"[{re.escape(''.join(known))}]*")
    table = str.maketrans({character: chr(byte) for character, byte in known.items()})
    return {
        index: token.translate(table).encode("latin-1") if of_bytes.fullmatch(token) else token.encode()
        for token, index in vocab.items()
    }


def _piece(token: str) -> bytes:
    """A SentencePiece token's text; <0x41> stands for a byte."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.encode()


def _byte_ids(model: Mapping[str, Any], characters: bool) -> list[int]:
    """The token of each byte: where merges begin, or what an unknown character becomes."""
    vocab = model["vocab"]
    if characters:
        found = [vocab.get(f"<0x{byte:02X}>", NO_TENSOR) for byte in range(BPE_BYTES)]
    else:
        by_byte = {byte: c for c, byte in byte_characters().items()}
        found = [vocab.get(by_byte[byte], NO_TENSOR) for byte in range(BPE_BYTES)]
    if NO_TENSOR in found and (characters or model.get("unk_token") is not None):
        raise Unsupported("its vocabulary has no token for some bytes")
    return found


def _merges(model: Mapping[str, Any], ranks: Sequence[int] | None) -> list[tuple[int, int, int, int]]:
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


def _check_pieces(vocab: Mapping[str, int], added: Sequence[Mapping[str, Any]]) -> None:
    """Raises Unsupported where pieces with ranks are made of more than pairs of tokens, which the tables hold."""
    special = {token["content"] for token in added}
    for piece in vocab:
        if len(piece) == 6 and piece.startswith("<0x"):
            continue
        if SPACE in piece and piece in special:
            raise Unsupported(f"its token {piece} is found before spaces become {SPACE}")
        if piece in special:
            continue
        if len(piece) > MAX_MERGES_A_PIECE:
            raise Unsupported(f"a piece of it has {len(piece)} characters")
        if len(piece) > 1 and not all(character in vocab for character in piece):
            raise Unsupported(f"its piece {piece} has characters that are no pieces")


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
    for token in facts.get("added_tokens", []):
        if not token["content"]:
            continue
        if any(token[key] for key in ("single_word", "lstrip", "rstrip")) or (characters and token["normalized"]):
            raise Unsupported(f"its token {token['content']} takes in what stands beside it")
        texts[token["id"]] = token["content"].encode()
        found.append((token["id"], int(AddedFlag.SPECIAL) if token["special"] else 0))
    return found


# ---- roles ----


def find_roles(tokenizer: Tokenizer) -> Roles:
    """The chat template rendered to the texts around a question. Raises Unsupported where it is not of that form.

    One that breaks the limits of the sandbox is no matter of form: that is the tokenizer's refusal.
    """
    if not tokenizer.chat_template:
        return Roles("".join(token or "" for token in codec_of(tokenizer).tokens(tokenizer.start)), "")
    try:
        # Without a clock: the same model gives the same image tomorrow.
        template = ChatTemplate(tokenizer.chat_template, tokenizer.special, clock=False, refusal=tokenizer.refusal)
        one = template.render([{"role": "user", "content": "question-1"}])
        asked, said = {"role": "user", "content": "question-1"}, {"role": "assistant", "content": "answer-1"}
        two = template.render([asked, said, {"role": "user", "content": "question-2"}])
    except HostError as error:
        if isinstance(error.__cause__, SandboxError) and error.__cause__.harmful:
            raise
        raise Unsupported(str(error)) from error
    first, mark, suffix = one.partition("question-1")
    if not mark or "question-1" in suffix:
        raise Unsupported("its chat template does not put a question between two fixed texts")
    ends = [token or "" for token in codec_of(tokenizer).tokens(tokenizer.stop_ids)]
    return Roles(first, suffix, *_next_turn(one, two, suffix, ends))


def _next_turn(one: str, two: str, suffix: str, ends: list[str]) -> tuple[str, str | None]:
    """What stands between an answer and the next question: the stop token that ends the answer, and the rest."""
    held = one + "answer-1"
    if not two.startswith(held) or not two.endswith("question-2" + suffix):
        return "", None
    between = two[len(held) : -len("question-2" + suffix)]
    end = next((text for text in ends if text and between.startswith(text)), "")
    return end, between[len(end) :]
