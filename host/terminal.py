# SPDX-License-Identifier: Apache-2.0
"""Text for people: what is safe to print, and notices on stderr that do not disturb it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

ALLOWED = frozenset("\n\t")


def printable(text: str, allowed: frozenset[str] = ALLOWED) -> str:
    """Return text from a device, model or file without characters that steer a terminal, but for those ``allowed``."""
    return "".join(c if c in allowed or not (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0) else "\ufffd" for c in text)


def say(piece: str) -> None:
    """Write a piece of a model's text to standard output: exactly, but ``printable`` where that is a terminal."""
    print(printable(piece) if sys.stdout.isatty() else piece, end="", flush=True)


@dataclass
class Notices:
    """What the device prints, and progress, on stderr; progress only where stderr is a terminal."""

    quiet: bool = False
    shown: bool = False

    def line(self, text: str) -> None:
        """Show a line that the device printed."""
        if not self.quiet and text.strip():
            self.clear()
            print(f"| {printable(text)}", file=sys.stderr, flush=True)

    def progress(self, done: int, total: int) -> None:
        """Show how much of a prompt was read."""
        if not self.quiet and sys.stderr.isatty():
            print(f"\rreading the prompt: {done} of {total} tokens", end="", file=sys.stderr, flush=True)
            self.shown = True

    def transfer(self, done: int, total: int) -> None:
        """Show how much of an image or session was compared and sent."""
        if not self.quiet and sys.stderr.isatty():
            print(f"\r{done >> 10} of {total >> 10} KiB", end="", file=sys.stderr, flush=True)
            self.shown = True

    def clear(self) -> None:
        """Remove the progress."""
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self.shown = False
