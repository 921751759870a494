# SPDX-License-Identifier: Apache-2.0
"""Small sections TOKENS: between them they have all steps, models and kinds of added tokens."""

from __future__ import annotations

import struct

import numpy as np

from host.image.text.automaton import classes_table
from host.image.text.builder import Builder, Model, by_text, code_map
from host.image.text.charsets import CODES, as_set
from host.image.text.pattern import Cat, One, Repeat, literal
from host.image.text.section import build_section
from host.schema.image import NO_TENSOR
from host.schema.tokens import (
    PrependFlag,
    SplitFlag,
    StepKind,
    StripFlag,
    TokenAdded,
    TokenFlag,
    TokenModel,
    TokensFlag,
)

WORDS = ("the", "he", "quick", "qu", "ick", "brown", "fo", "x", "s", "1", "12", "23", "\u00e9", ".", "'", "<", ">")
LETTERS = One(as_set([(ord("a"), ord("z"))]))
BLANKS = One(as_set([(ord(" "), ord(" ")), (ord("\n"), ord("\n"))]))


def _classes(*sets: str) -> bytes:
    members = np.zeros(CODES, np.uint8)
    for number, characters in enumerate(sets, 1):
        for character in characters:
            members[ord(character)] = number
    return classes_table(members, len(sets) + 1)


def _keys(entries: dict[bytes, bytes]) -> bytes:
    keys = sorted(entries)
    offsets, texts = [], b""
    for group in (keys, [entries[key] for key in keys]):
        for text in group:
            offsets.append(len(texts))
            texts += text
        offsets.append(len(texts))
    table = struct.pack("<I", len(keys)) + struct.pack(f"<{len(offsets)}I", *offsets) + texts
    return table + bytes(-len(table) % 4)


def _normalized(builder: Builder) -> None:
    classes = _classes("\n", "\r", "\v", "\u0301\u0302", "\u200d", "\u0600", "\u00a9")
    keys = _keys({b"A\xcc\x81": b"\xc3\x81", b"\t": b" ", b"\xef\xac\x81": b"fi"})
    builder.step(StepKind.CLUSTERS, table=struct.pack("<I", len(classes)) + classes + keys)
    marks = _classes("\u0323", "\u0301\u0302")
    parts = code_map([(0xE9, 0xE9, b"e\xcc\x81"), (0x1EC7, 0x1EC7, b"e\xcc\xa3\xcc\x82")])
    builder.step(StepKind.DECOMPOSE, table=struct.pack("<I", len(parts)) + parts + marks)
    pairs = struct.pack("<I6I", 2, ord("e"), 0x301, 0xE9, ord("e"), 0x323, 0x1EB9)
    builder.step(StepKind.COMPOSE, table=pairs + marks)
    small = [(code, code, chr(code + 32).encode()) for code in range(ord("A"), ord("Z") + 1)]
    builder.step(StepKind.MAP, table=code_map([*small, (0x4E00, 0x9FFF, b" \0 ")]))
    builder.step(StepKind.STRIP, StripFlag.LEFT | StripFlag.RIGHT, _classes(" \n"))
    builder.step(StepKind.REPLACE, table=builder.automaton(Repeat(One(as_set([(32, 32)])), 2, None)), text=" ")


def _cut(builder: Builder, behaviour: SplitFlag) -> None:
    builder.mark()
    builder.step(StepKind.PREPEND, PrependFlag.MISSING, text="\u2581")
    builder.cut(Cat((BLANKS,)), behaviour)
    builder.cut(Repeat(LETTERS, 1, None), SplitFlag.CONTIGUOUS, invert=True)
    builder.cut(literal("'"), SplitFlag.MERGED_WITH_PREVIOUS)


def _added(first: int) -> tuple[list[bytes], bytes]:
    texts = (b"<|im_start|>", b"<|im", b"own", b"fox")
    flags = (TokenFlag.SPECIAL, TokenFlag.LEFT | TokenFlag.RIGHT, TokenFlag.NORMALIZED, TokenFlag.WORD)
    records, offset = [], 0
    for number, (text, flag) in enumerate(zip(texts, flags, strict=True)):
        records.append(TokenAdded.build({"id": first + number, "flags": flag, "offset": offset, "size": len(text)}))
        offset += len(text)
    return records, b"".join(texts)


def _model(kind: TokenModel) -> Model:
    words = [f"<0x{byte:02X}>" for byte in range(256)] + [*WORDS, "h", "e", "t", " ", "q", " t", " the"]
    prefix = {TokenModel.WORD_PIECE: " "}.get(kind, "")
    texts = {i: (prefix + word if word.isalpha() else word).encode() for i, word in enumerate(dict.fromkeys(words))}
    number = {text: i for i, text in texts.items()}
    flags = TokensFlag.CHARACTERS | TokensFlag.FALLBACK | TokensFlag.FUSE_UNKNOWN | TokensFlag.STRIP_SPACE
    single = {i: text for i, text in texts.items() if i >= 256}
    made = Model(kind, flags, texts, by_text(single), byte_ids=list(range(256)), unknown=0, word_characters=100)
    if kind == TokenModel.UNIGRAM:
        made.scores, made.unknown_score = [-float(i % 7) for i in texts], -20.0
    if kind == TokenModel.BPE:
        pairs = [(b"h", b"e", b"he"), (b"t", b"he", b"the"), (b" ", b"t", b" t"), (b" t", b"he", b" the")]
        made.merges = sorted((number[a], number[b], rank, number[c]) for rank, (a, b, c) in enumerate(pairs))
    return made


def section(kind: TokenModel) -> bytes:
    """The section's bytes."""
    builder, model = Builder(), _model(kind)
    if kind != TokenModel.BPE:
        _normalized(builder)
    normalizing = len(builder.steps)
    _cut(builder, {TokenModel.WORD_PIECE: SplitFlag.REMOVED}.get(kind, SplitFlag.MERGED_WITH_NEXT))
    records, texts = _added(max(model.texts) + 1)
    model.texts |= {max(model.texts) + 1 + i: b"added" for i in range(len(records))}
    beside = _classes(" \n", "abcdefghijklmnopqrstuvwxyz0123456789")
    head = {"version": 1, "flags": model.flags | TokensFlag.CHAT, "normalizing": normalizing, "end_id": NO_TENSOR}
    head |= {"beside": builder.place(beside), "beside_bytes": len(beside)}
    head |= {"first_bytes": 4, "end_bytes": 0, "next_bytes": 0, "suffix_bytes": 1}
    return build_section(head, builder, model, records, texts, [b"say ", b"", b"", b"\n"])
