# SPDX-License-Identifier: Apache-2.0
"""The section TOKENS of a tokenizer."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from host.files.source import Tokenizer
from host.image.text.automaton import classes_table
from host.image.text.builder import Builder, Model
from host.image.text.charsets import as_set, ask, spaces
from host.image.text.pattern import Unsupported
from host.image.text.registry import flat, kind_of
from host.image.text.roles import find_roles
from host.schema.image import BPE_BYTES, MAX_ROLE_BYTES, NO_TENSOR
from host.schema.limits import LIMIT_ADDED, LIMIT_ADDED_BYTES, LIMIT_MERGES, LIMIT_TEXT_BYTES, LIMIT_TOKEN_BYTES
from host.schema.tokens import TOKENS_VERSION, TokenAdded, TokenFlag, Tokens, TokensFlag
from host.tokens.tokenizer import codec_of

MAX_IDS = 1 << 20
"""The largest known vocabularies have a quarter of it."""
BESIDE = {"lstrip": TokenFlag.LEFT, "rstrip": TokenFlag.RIGHT, "single_word": TokenFlag.WORD}


def tokens_section(tokenizer: Tokenizer) -> bytes:
    """The section's bytes. Raises Unsupported, and the tokenizer's refusal where it is damaged."""
    library = codec_of(tokenizer)
    facts = library.facts()
    builder, tables = Builder(tokenizer.ranks), kind_of("models", "model", facts["model"]).tables
    for spec in flat(facts.get("normalizer"), "normalizers"):
        kind_of("normalizers", "normalizer", spec).add(builder, spec)
    normalizing, marked = len(builder.steps), builder.marked
    builder.pretokenizers = flat(facts.get("pre_tokenizer"), "pretokenizers")
    for spec in builder.pretokenizers:
        kind_of("pretokenizers", "pre-tokenizer", spec).add(builder, spec)
    model: Model = tables(builder, facts)
    added, added_text = _added(facts, builder, model, marked)
    beside = _beside(facts)
    roles = find_roles(tokenizer)
    if not tokenizer.chat_template and tuple(library.encode(roles.first)) != tokenizer.start:
        raise Unsupported("what its texts start with cannot be written as text")
    flags = model.flags | (TokensFlag.STRIP_SPACE if _strips(facts.get("decoder")) else 0)
    if tokenizer.chat_template:
        flags |= TokensFlag.CHAT | (TokensFlag.TURNS if roles.next is not None else 0)
    role_texts = [text.encode() for text in (roles.first, roles.end, roles.next or "", roles.suffix)]
    if sum(map(len, role_texts)) > MAX_ROLE_BYTES:
        raise Unsupported(f"its chat template puts more than {MAX_ROLE_BYTES} bytes around a question")
    end = library.encode(roles.end) if roles.end else []
    head = {
        "version": TOKENS_VERSION,
        "flags": flags,
        "normalizing": normalizing,
        "end_id": end[0] if len(end) == 1 else NO_TENSOR,
        "beside": builder.place(beside),
        "beside_bytes": len(beside),
        **{f"{name}_bytes": len(t) for name, t in zip(("first", "end", "next", "suffix"), role_texts, strict=True)},
    }
    return build_section(head, builder, model, added, added_text, role_texts)


def build_section(
    head: Mapping[str, int], builder: Builder, model: Model, added: list[bytes], added_text: bytes, roles: list[bytes]
) -> bytes:
    """The bytes of parts: ``head`` has the fields that no part says."""
    texts = model.texts
    count = max(texts, default=-1) + 1
    if not 0 < count <= MAX_IDS:
        raise Unsupported(f"its ids go up to {count - 1}" if count else "its vocabulary is empty")
    pieces = [texts.get(index, b"") for index in range(count)]
    scores = [*model.scores, *[0.0] * (count - len(model.scores))] if model.scores else []
    _check_limits(pieces, model, len(added))
    data = bytes(builder.data) + bytes(-len(builder.data) % 4)
    start = Tokens.build(
        {
            **head,
            "model": model.model,
            "vocab": count,
            "merge_count": len(model.merges),
            "sorted_count": len(model.ordered),
            "score_count": len(scores),
            "added_count": len(added),
            "step_count": len(builder.steps),
            "data_bytes": len(data),
            "text_bytes": sum(map(len, pieces)),
            "added_bytes": len(added_text),
            "unknown": model.unknown,
            "word_characters": model.word_characters,
            "unknown_score": int.from_bytes(struct.pack("<d", model.unknown_score), "little"),
        }
    )
    offsets = np.cumsum([0, *map(len, pieces)])
    tables = [np.array(table, "<u4").tobytes() for table in (model.byte_ids, offsets, model.merges, model.ordered)]
    assert len(model.byte_ids) == BPE_BYTES
    tables += [np.array(scores, "<f8").tobytes(), *added, *builder.steps, data]
    return b"".join([start, *tables, *pieces, added_text, *roles])


def _check_limits(pieces: list[bytes], model: Model, added: int) -> None:
    """Unsupported for what the firmware's limits.h does not hold."""
    for what, value, limit in (
        ("merges", len(model.merges), LIMIT_MERGES),
        ("added tokens", added, LIMIT_ADDED),
        ("bytes in a token", max(map(len, pieces)), LIMIT_TOKEN_BYTES),
        ("bytes of text", sum(map(len, pieces)), LIMIT_TEXT_BYTES),
    ):
        if value > limit:
            raise Unsupported(f"it has {value} {what}; the firmware takes {limit} at most")


def _added(facts: Mapping[str, Any], builder: Builder, model: Model, marked: bool) -> tuple[list[bytes], bytes]:
    """Records of the tokens that are found before anything else, and their texts; what is shown goes to the model's.

    marked: whether the normalizer writes U+2581.
    """
    listed = sorted((token for token in facts["added_tokens"] if token["content"]), key=lambda token: int(token["id"]))
    normal = [token["content"] for token in listed if token["normalized"]]
    if facts.get("normalizer") and normal:
        normal = ask("normalized", facts["normalizer"], normal)
    if marked:
        normal = [text.replace("\u2581", " ") for text in normal]
    records, texts, following = [], bytearray(), iter(normal)
    for token in listed:
        text = (next(following) if token["normalized"] else token["content"]).encode()
        if len(text) > LIMIT_ADDED_BYTES:
            raise Unsupported(f"it has {len(text)} bytes in an added token; the firmware takes {LIMIT_ADDED_BYTES}")
        model.texts.setdefault(token["id"], builder.written(token["content"]))
        if not text:
            continue
        flags = sum(int(flag) for key, flag in BESIDE.items() if token[key])
        flags |= (TokenFlag.SPECIAL if token["special"] else 0) | (TokenFlag.NORMALIZED if token["normalized"] else 0)
        records.append(TokenAdded.build({"id": token["id"], "flags": flags, "offset": len(texts), "size": len(text)}))
        texts += text
    return records, bytes(texts)


def _beside(facts: Mapping[str, Any]) -> bytes:
    """Classes of white space and of letters, as far as added tokens ask for them."""
    wanted = {key for token in facts["added_tokens"] for key in BESIDE if token[key]}
    if not wanted:
        return b""
    members = spaces().astype(np.uint8)
    if "single_word" in wanted:
        members[as_set(ask("words"))] = 2
    return classes_table(members, 3)


def _strips(decoder: Mapping[str, Any] | None) -> bool:
    """Whether an answer loses the space that it begins with."""
    for part in flat(decoder, "decoders"):
        if part["type"] == "WordPiece":
            return True
        if part["type"] == "Metaspace" and part["prepend_scheme"] != "never":
            return True
        if part["type"] == "Strip" and part["content"] == " " and part["start"] == 1:
            return True
    return False
