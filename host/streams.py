# SPDX-License-Identifier: Apache-2.0
"""Standard input and output as a command finds them: closed, of a poor encoding, or a pipe whose reader has gone.

``prepare`` is called once, before anything is read or written; ``finish`` once, behind the last word.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import sys
from typing import TextIO

STAND_INS = {
    "±": "+-",
    "█": "#",
    "…": "...",
    "\u2013": "-",
    "\u2014": "-",
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\u2022": "*",
    "\u00d7": "x",
    "━": "-",
    "╸": "-",
    "╺": "-",
    "\u00a0": " ",
    "\ufffd": "?",
}
"""What is written where the output's encoding lacks a character; any other becomes its escape, such as \\u65e5."""
HANDLER = "hartspeak.stand_ins"
READER_GONE = 141
"""Exit code when what reads the output has gone, as of a program that SIGPIPE ends."""


def stand_ins(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: STAND_INS, else an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    words = "".join(STAND_INS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in missing)
    return words, error.end


def prepare() -> None:
    """Make the standard streams usable: none is None, none fails for a character that its encoding lacks.

    Input in an encoding that knows only ASCII is read as UTF-8, which is a superset; bytes that are not text are left
    to ``typed``. A closed descriptor becomes the
    null device, or the next file that is opened would get its number, and what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY), True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    codecs.register_error(HANDLER, stand_ins)
    for stream in (sys.stdout, sys.stderr):
        _configure(stream, errors=HANDLER)
    if codecs.lookup(sys.stdin.encoding or "ascii").name == "ascii":
        _configure(sys.stdin, encoding="utf-8")
    _configure(sys.stdin, errors="surrogateescape")


def typed(words: str) -> str:
    """What a person typed or piped, where it is UTF-8: a locale that knows only ASCII hands its bytes on one by one.

    Raises UsageError where it is not.
    """
    from host.errors import UsageError

    try:
        return words.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError as error:
        raise UsageError("the text is not UTF-8; convert it, for instance with iconv -t utf-8") from error


def _configure(stream: TextIO, **options: str) -> None:
    """Reconfigure a stream that can be; a test's or notebook's stand-in may not."""
    if reconfigure := getattr(stream, "reconfigure", None):
        with contextlib.suppress(ValueError, OSError):  # closed, or read from already
            reconfigure(**options)


def reader_gone(stream: TextIO) -> bool:
    """Whether the stream is a pipe or socket that nobody reads any more."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    except (AttributeError, OSError, ValueError):
        return False


def finish() -> OSError | None:
    """Write what is still buffered. Returns what failed, after which nothing is left for Python to fail at."""
    failed: OSError | None = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            failed = failed or error
            _silence(stream)
        except ValueError:
            pass  # closed already
    return failed


def _silence(stream: TextIO) -> None:
    """Let what is buffered go to the null device, or Python's own flush at its end would fail again."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
