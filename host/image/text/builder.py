# SPDX-License-Identifier: Apache-2.0
"""Steps and their tables, collected for the section TOKENS."""

from __future__ import annotations

import builtins
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from host.image.text import automaton
from host.image.text.charsets import Set, ask
from host.image.text.merges import byte_characters
from host.image.text.pattern import Node, One, Unsupported, literal, parse
from host.schema.image import NO_TENSOR
from host.schema.tokens import MAX_TOKEN_STEPS, SplitFlag, StepKind, TokenModel, TokenStep
from host.tokens.splits import SPACE

BEHAVIOURS = {
    "Removed": SplitFlag.REMOVED,
    "Isolated": SplitFlag.ISOLATED,
    "Contiguous": SplitFlag.CONTIGUOUS,
    "MergedWithPrevious": SplitFlag.MERGED_WITH_PREVIOUS,
    "MergedWithNext": SplitFlag.MERGED_WITH_NEXT,
}
"""The library's names of what becomes of what is found, in the form of its own JSON."""
ITSELF = b"\xff"
"""In the text that a character becomes: the character (CODE_MAP_ITSELF of firmware/tokenizer/characters.h)."""


@dataclass
class Builder:
    """What a tokenizer does to a text before its model, step by step.

    Where spaces become U+2581 the device keeps them as spaces, and has no U+2581 from there on (``marked``): texts,
    patterns and pieces are written so.
    """

    ranks: Sequence[int] | None = None
    """`Tokenizer.ranks`."""
    marked: bool = False
    pretokenizers: list[Mapping[str, Any]] = field(default_factory=list)
    bytes: bool = False
    """Behind ByteLevel: the text is characters that stand for bytes, and the device's bytes."""
    steps: list[builtins.bytes] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    _known: dict[builtins.bytes, int] = field(default_factory=dict)

    def place(self, table: builtins.bytes) -> int:
        """Where a table lies in the data, the same one only once."""
        if table not in self._known:
            self.data += bytes(-len(self.data) % 4)
            self._known[table] = len(self.data)
            self.data += table
        return self._known[table]

    def step(self, kind: StepKind, flags: int = 0, table: builtins.bytes = b"", text: str = "") -> None:
        """One more step. Raises Unsupported where there are too many."""
        shown = self.written(text)
        if self.bytes and kind != StepKind.SPLIT:
            raise Unsupported("its pre-tokenizer changes texts behind ByteLevel")
        if len(self.steps) == MAX_TOKEN_STEPS:
            raise Unsupported(f"it takes more than {MAX_TOKEN_STEPS} steps")
        fields = {"offset": self.place(table), "size": len(table)}
        fields |= {"text_offset": self.place(shown), "text_size": len(shown)}
        self.steps.append(TokenStep.build({"kind": kind, "flags": flags} | fields))

    def written(self, text: str) -> builtins.bytes:
        """A text as it stands on the device now."""
        return (text.replace(SPACE, " ") if self.marked else text).encode()

    def pattern(self, spec: Mapping[str, Any]) -> Node:
        """A pattern as tokenizer.json writes it."""
        return literal(spec["String"]) if "String" in spec else parse(spec["Regex"])

    def automaton(self, node: Node) -> builtins.bytes:
        """Its table."""
        codes = {ord(" "): ord(SPACE)} if self.marked else {}
        codes |= {byte: ord(character) for character, byte in byte_characters().items()} if self.bytes else {}
        return automaton.table(node, codes)

    def mark(self) -> None:
        """From here on spaces are what stands for U+2581."""
        if not self.marked:
            table = self.automaton(literal(SPACE))
            self.step(StepKind.REPLACE, table=table, text=" ")
            self.marked = True

    def map(self, spec: Mapping[str, Any], removing: bool = False) -> None:
        """What a normalizer does to each character by itself; ``removing``: only which ones it takes away."""
        ranges = [(first, last, text) for first, last, text in ask("mapped", spec) if not (removing and text)]
        if self.marked:
            moved = [(ord(" "), ord(" "), text) for first, last, text in ranges if first <= ord(SPACE) <= last]
            if any(first <= ord(" ") <= last for first, last, _ in ranges) or moved:
                raise Unsupported(f"its normalizer {spec['type']} comes behind {SPACE}")
        self.step(StepKind.MAP, table=code_map([(first, last, self.written(text)) for first, last, text in ranges]))

    def cut(self, what: Node | Set, behaviour: SplitFlag, invert: bool = False) -> None:
        """Cut by a pattern, or by single characters of a set."""
        node = what if isinstance(what, Node) else One(what)
        flags = behaviour | (SplitFlag.INVERT if invert else 0) | (SplitFlag.BYTES if self.bytes else 0)
        self.step(StepKind.SPLIT, flags, self.automaton(node))


def code_map(ranges: list[tuple[int, int, bytes]]) -> bytes:
    """[first, last] characters and what they become, in which 0 stands for the character: the table of a MAP."""
    records, texts, known = bytearray(), bytearray(), dict[bytes, int]()
    for first, last, text in ranges:
        value = text.replace(b"\0", ITSELF)
        if value not in known:
            known[value] = len(texts)
            texts += value
        records += struct.pack("<4I", first, last, known[value], len(value))
    return struct.pack("<I", len(ranges)) + records + texts + bytes(-len(texts) % 4)


@dataclass
class Model:
    """What becomes of pieces; the fields are those of `Tokens`, texts by id as the device shows and finds them."""

    model: TokenModel
    flags: int
    texts: dict[int, bytes]
    ordered: list[int]
    byte_ids: list[int] = field(default_factory=lambda: [NO_TENSOR] * 256)
    merges: list[tuple[int, int, int, int]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    unknown: int = NO_TENSOR
    unknown_score: float = 0.0
    word_characters: int = 0


def by_text(texts: Mapping[int, bytes]) -> list[int]:
    """Ids by their texts, each text once: the last id that has it."""
    found = {texts[index]: index for index in sorted(texts) if texts[index]}
    return [found[text] for text in sorted(found)]
