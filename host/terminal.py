# SPDX-License-Identifier: Apache-2.0
"""Text for people: what is safe to print, a model's text as it comes, and notices that do not disturb it."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

from host.words import shown, shown_lines

ALLOWED = frozenset("\n\t")
SOON_SECONDS = 1.0
"""A wait that is shorter is not told on a terminal."""
PLAIN_SECONDS = 5.0
"""The same where stderr is no terminal: one line for each thing that is waited for, and one more each minute."""
PLAIN_AGAIN_SECONDS = 60.0
MOST_LINES = 500
"""Of a device, between two answers: more are a flood."""
TAB = 8


def printable(text: str) -> str:
    """A model's answer without controls but line feeds and tabs. Format characters stay: emoji and Arabic need them.

    All other foreign words go through `host.words`.
    """
    return "".join(c if c in ALLOWED or not (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0) else "\ufffd" for c in text)


@dataclass
class Wrapper:
    """Text that comes in pieces onto a terminal of ``width`` columns: a word that does not fit begins the next line.

    Each piece is shown at once, so the part of a word that has been shown already is taken back then. The last column
    stays free: a terminal that has filled it is between two lines. Where a character's width is not sure (combining
    characters, joined emoji), nothing is taken back.
    """

    column: int = 0
    word: str = ""
    """What has been shown of the last word, one column a character, on this line."""

    def wrap(self, text: str, width: int) -> str:
        """What is to be written for the next piece."""
        return "".join(self._put(character, max(width - 1, 2)) for character in text)

    def _put(self, character: str, room: int) -> str:
        if character in "\n\t ":
            return self._space(character, room)
        columns = _columns(character)
        out = ""
        while self.column + columns > room:  # twice where what is kept of the word leaves no room for an ideograph
            out += self._next_line()
        self.column += columns
        # An ideograph is a word, and after a hyphen a word may be broken.
        self.word = "" if columns != 1 or character == "-" else self.word + character
        return out + character

    def _next_line(self) -> str:
        kept = self.word if len(self.word) < self.column else ""
        self.word, self.column = kept, len(kept)
        return f"\x1b[{len(kept)}D\x1b[K\n{kept}" if kept else "\n"

    def _space(self, character: str, room: int) -> str:
        self.word = ""
        after = self.column + 1 if character == " " else (self.column // TAB + 1) * TAB
        if character == "\n" or after > room:
            self.column = 0
            return "\n"
        self.column = after
        return character


def _columns(character: str) -> int:
    if character.isascii():
        return 1
    from prompt_toolkit.utils import get_cwidth

    return max(0, get_cwidth(character))


_wrapper = Wrapper()


def say(piece: str) -> None:
    """Write a piece of a model's text to standard output: exactly; on a terminal ``printable``, no word broken."""
    if sys.stdout.isatty():
        piece = _wrapper.wrap(printable(piece), shutil.get_terminal_size().columns)
    print(piece, end="", flush=True)


def folded(text: str) -> str:
    """A line for stderr; on a terminal as lines that break between words. Not for commands, which may be copied."""
    if not sys.stderr.isatty():
        return text
    width = max(shutil.get_terminal_size().columns - 1, 20)
    if len(text) <= width:
        return text
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False, subsequent_indent="  ")


def end_line() -> None:
    """Have what comes next begin a line of its own, where a model's text on a terminal stands in the middle of one."""
    if _wrapper.column and sys.stdout.isatty():
        say("\n")


def start_line() -> None:
    """Tell that the cursor is at the beginning of a line, where others than ``say`` have written."""
    _wrapper.column, _wrapper.word = 0, ""


@contextlib.contextmanager
def held_echo() -> Iterator[None]:
    """Within it what is typed does not show: it waits for the next prompt. Ctrl-C drops it, and works as ever."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        before = termios.tcgetattr(sys.stdin)
    except (OSError, ValueError, termios.error):  # no terminal
        yield
        return
    held = list(before)
    held[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, held)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def take_back() -> None:
    """Have what comes next begin a line of its own: an error's words, or the shell after Ctrl-C."""
    while _showing:
        _showing.pop().clear()
    end_line()


@dataclass
class Notices:
    """What the device prints, what is waited for, and progress, on stderr; progress only where that is a terminal."""

    quiet: bool = False
    shown: bool = False
    lines: int = 0
    """Of the device, since the last answer."""
    _part: str = ""
    _told: dict[str, float] = field(default_factory=dict)
    """What was told where stderr is no terminal, and when it may be told again, seconds of waiting."""

    def line(self, text: str) -> None:
        """Show a line that the device printed."""
        if self.quiet or not text.strip():
            return
        self.lines += 1
        if self.lines <= MOST_LINES:
            self._print(f"| {shown_lines(text)}")
        elif self.lines == MOST_LINES + 1:
            self._print("| ... more than can be of use; --log keeps it all")

    def _print(self, text: str) -> None:
        self.clear()
        end_line()
        print(folded(text), file=sys.stderr, flush=True)

    def waiting(self, what: str, seconds: float, hint: str = "") -> None:
        """Show what is waited for, for how long already, and what may help."""
        if self.quiet or seconds < SOON_SECONDS:
            return
        part = f" ({self._part})" if self._part else ""
        text = f"{what}{part}, {seconds:.0f} s" + (f"; {hint}" if hint else "")
        if sys.stderr.isatty():
            self._show(text)
        elif seconds >= self._told.get(what, PLAIN_SECONDS):
            self._told[what] = seconds + PLAIN_AGAIN_SECONDS
            self._print(f"[{shown_lines(text)}]")
        elif seconds < PLAIN_SECONDS:
            self._told.pop(what, None)

    def _show(self, text: str) -> None:
        """Instead of what was shown last; in one line, for only that can be taken back."""
        end_line()
        room = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{shown(text, room)[:room]}", end="", file=sys.stderr, flush=True)
        self.shown = True
        _showing[:] = [self]

    def progress(self, done: int, total: int) -> None:
        """Show how much of a prompt was read."""
        self._part = f"{done} of {total} tokens"
        if not self.quiet and sys.stderr.isatty():
            self._show(f"reading the prompt ({self._part})")

    def transfer(self, done: int, total: int) -> None:
        """Show how much of an image or session was compared and sent."""
        if not self.quiet and sys.stderr.isatty():
            self._show(f"{done >> 10} of {total >> 10} KiB")

    def clear(self) -> None:
        """Remove what is waited for and the progress."""
        self._part = ""
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self.shown = False

    def answered(self) -> None:
        """An answer has ended: what the device prints next is about something else."""
        self.lines = 0


_showing: list[Notices] = []
"""Whose progress stands on the terminal, if any does."""
