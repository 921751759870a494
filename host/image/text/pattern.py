# SPDX-License-Identifier: Apache-2.0
"""Regular expressions of tokenizers, in the syntax of Oniguruma (Ruby), as far as an automaton can follow.

https://github.com/kkos/oniguruma/blob/master/doc/RE. What looks back, or further ahead than a character, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from host.image.text.charsets import CODES, Set, matching, single

MAX_REPEAT = 64
MAX_PATTERN, MAX_DEPTH, MAX_SETS = 4096, 32, 512
"""Known patterns have 300 characters, 4 levels and 60 sets, of which each takes a megabyte."""
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}


class Unsupported(Exception):
    """The tokenizer has something that the device does not know; the message says what."""


@dataclass(frozen=True, eq=False)
class One:
    """One character of a set."""

    members: Set


@dataclass(frozen=True, eq=False)
class Ahead:
    """The next character is of a set; ``end``: or there is none."""

    members: Set
    end: bool


@dataclass(frozen=True, eq=False)
class Cat:
    """One behind the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Either:
    """The first that fits."""

    choices: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Repeat:
    """``least`` times and up to ``most``, None: as often as there is one."""

    node: Node
    least: int
    most: int | None
    greedy: bool = True
    possessive: bool = False


Node = One | Ahead | Cat | Either | Repeat


def literal(text: str) -> Node:
    """The text itself. Raises Unsupported where it is too long."""
    if len(text) > MAX_SETS:
        raise _too_long()
    return Cat(tuple(One(single(character)) for character in text))


def parse(pattern: str) -> Node:
    """A regular expression. Raises Unsupported."""
    if len(pattern) > MAX_PATTERN:
        raise _too_long()
    parser = _Parser(pattern)
    node = parser.either(False)
    if parser.at < len(pattern):
        raise parser.refusal()
    return node


def _too_long() -> Unsupported:
    return Unsupported("its pattern is too long")


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.sets = text, 0, 0, 0

    def refusal(self) -> Unsupported:
        shown = self.text[max(0, self.at - 6) : self.at + 6]
        return Unsupported(f"its pattern has what no automaton can do, at {shown!r}")

    def next(self, expected: str) -> bool:
        found = self.text.startswith(expected, self.at)
        self.at += len(expected) if found else 0
        return found

    def take(self) -> str:
        if self.at >= len(self.text):
            raise self.refusal()
        self.at += 1
        return self.text[self.at - 1]

    def either(self, fold: bool) -> Node:
        choices = [self.cat(fold)]
        while self.next("|"):
            choices.append(self.cat(fold))
        return choices[0] if len(choices) == 1 else Either(tuple(choices))

    def cat(self, fold: bool) -> Node:
        parts: list[Node] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            parts.append(self.repeated(self.atom(fold)))
        for number, part in enumerate(parts):
            if isinstance(part, Repeat) and part.possessive and not _is_apart(part, parts[number + 1 :], self.depth):
                raise self.refusal()
        return Cat(tuple(parts))

    def repeated(self, node: Node) -> Node:
        while True:
            if self.next("?"):
                least, most = 0, 1
            elif self.next("*"):
                least, most = 0, -1
            elif self.next("+"):
                least, most = 1, -1
            elif self.text.startswith("{", self.at):
                node = self.counted(node)
                continue
            else:
                return node
            lazy, possessive = self.next("?"), False
            if not lazy:
                possessive = self.next("+")
            if isinstance(node, Repeat | Ahead):
                raise self.refusal()
            node = Repeat(node, least, None if most < 0 else most, not lazy, possessive)

    def counted(self, node: Node) -> Node:
        end = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : end].partition(",")
        if end < 0 or not (low.isdecimal() or (low == "" and high.isdecimal())) or not (high.isdecimal() or not high):
            raise self.refusal()
        self.at = end + 1
        least = int(low or 0)
        most = int(high) if high else None if comma else least
        wrong = isinstance(node, Repeat | Ahead) or self.text[self.at : self.at + 1] in ("?", "+", "*", "{")
        if wrong or max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise self.refusal()
        return Repeat(node, least, most)

    def atom(self, fold: bool) -> Node:
        self.sets += 1
        if self.sets > MAX_SETS:
            raise _too_long()
        if self.next("(?i:"):
            return self.group(True)
        if self.next("(?:"):
            return self.group(fold)
        if self.next("(?=") or self.next("(?!"):
            return self.ahead(self.text[self.at - 1] == "!", fold)
        if self.text.startswith("(?", self.at):
            raise self.refusal()
        if self.next("("):
            return self.group(fold)
        if self.next("["):
            return One(self.bracket(fold))
        if self.next("."):
            return One(~single("\n"))
        if self.next("$"):
            return Ahead(single("\n"), True)
        character = self.take()
        if character in "^*+?{":
            raise self.refusal()
        return One(self.escaped() if character == "\\" else _folded(character, fold))

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.refusal()

    def group(self, fold: bool) -> Node:
        self.deeper()
        node = self.either(fold)
        self.depth -= 1
        if not self.next(")"):
            raise self.refusal()
        return node

    def ahead(self, negative: bool, fold: bool) -> Node:
        node = self.group(fold)
        while isinstance(node, Cat) and len(node.parts) == 1:
            node = node.parts[0]
        if not isinstance(node, One):
            raise self.refusal()
        return Ahead(~node.members if negative else node.members, negative)

    def escaped(self) -> Set:
        """Behind a backslash."""
        character = self.take()
        if character in "sSdDwW":
            return matching(f"\\{character}")
        if character in "pP":
            end = self.text.find("}", self.at)
            name = self.text[self.at + 1 : end]
            if end < 0 or self.text[self.at] != "{" or not name.strip("^").isalnum():
                raise self.refusal()
            self.at = end + 1
            return matching(f"\\{character}{{{name}}}")
        if character in ("u", "x"):
            return single(self.coded(character))
        if character.isalnum() and character not in ESCAPES:
            raise self.refusal()
        return single(ESCAPES.get(character, character))

    def coded(self, kind: str) -> str:
        digits, end = (4 if kind == "u" else 2), self.at
        if kind == "x" and self.next("{"):
            end = self.text.find("}", self.at)
            text, self.at = self.text[self.at : end], end + 1
        else:
            text, self.at = self.text[self.at : self.at + digits], self.at + digits
        try:
            return chr(int(text, 16))
        except (ValueError, OverflowError):
            raise self.refusal() from None

    def bracket(self, fold: bool) -> Set:
        """A class, behind its bracket."""
        self.deeper()
        negative, found, first = self.next("^"), np.zeros(CODES, np.bool_), True
        while first or not self.text.startswith("]", self.at):
            first = False
            if self.text.startswith(("[:", "&&"), self.at):
                raise self.refusal()
            if self.next("["):
                found = found | self.bracket(fold)
                continue
            found = found | self.ranged(fold)
        self.at += 1
        self.depth -= 1
        if negative:
            found = ~found
            found[0xD800:0xE000] = False
        return found

    def ranged(self, fold: bool) -> Set:
        """A character, a class of its own, or a range in a class."""
        character, low = self.take(), ""
        if character == "\\":
            members = self.escaped()
            if np.count_nonzero(members) != 1:
                return members
            low = chr(int(np.flatnonzero(members)[0]))
        else:
            low = character
        if not self.text.startswith("-", self.at) or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            return _folded(low, fold)
        self.at += 1
        high = self.take()
        if high == "\\":
            members = self.escaped()
            if np.count_nonzero(members) != 1:
                raise self.refusal()
            high = chr(int(np.flatnonzero(members)[0]))
        if high == "[" or ord(high) < ord(low) or fold:
            raise self.refusal()
        found = np.zeros(CODES, np.bool_)
        found[ord(low) : ord(high) + 1] = True
        return found


def _folded(character: str, fold: bool) -> Set:
    """A character, in any case where ``fold``."""
    return matching(f"(?i:{character})") if fold and character.isalpha() else single(character)


def _first(nodes: list[Node]) -> tuple[Set, bool]:
    """The characters that a sequence may begin with, and whether it may be empty."""
    found = np.zeros(CODES, np.bool_)
    for node in nodes:
        members, empty = _first_of(node)
        found |= members
        if not empty:
            return found, False
    return found, True


def _first_of(node: Node) -> tuple[Set, bool]:
    if isinstance(node, One):
        return node.members, False
    if isinstance(node, Ahead):
        return np.zeros(CODES, np.bool_), True
    if isinstance(node, Cat):
        return _first(list(node.parts))
    if isinstance(node, Either):
        found = [_first_of(each) for each in node.choices]
        return np.logical_or.reduce([members for members, _ in found]), any(empty for _, empty in found)
    members, empty = _first_of(node.node)
    return members, empty or node.least == 0


def _is_apart(node: Repeat, following: list[Node], depth: int) -> bool:
    """Whether giving back what a possessive repeat took never lets what follows match.

    That holds where nothing that follows begins with what it takes, and nothing looks ahead.
    """
    if not isinstance(node.node, One) or any(isinstance(each, Ahead) for each in following):
        return False
    first, empty = _first(following)
    return not bool((first & node.node.members).any()) and not (empty and depth)
