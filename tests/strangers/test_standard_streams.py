# SPDX-License-Identifier: Apache-2.0
"""Closed standard streams, encodings that lack a character, readers that go away.

No traceback, and the exit code that the command would have had; 141 where only the reader has gone.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from host import streams
from host.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
HOST = f"'{sys.executable}' -m host"
LIGHT = "boards"
"""A command that prints and imports little."""


def shell(line: str, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=os.environ | environment, capture_output=True, timeout=120, check=False
    )
    out, err = done.stdout.decode("latin-1"), done.stderr.decode("latin-1")
    assert "Traceback" not in out + err, err
    assert "Exception ignored" not in err, err
    return done.returncode, out, err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str) -> None:
    assert shell(f"{HOST} --help {closed}")[0] == 0


def test_all_streams_closed_and_an_error() -> None:
    assert shell(f"{HOST} boards nowhere <&- >&- 2>&-") == (2, "", "")


def test_a_file_never_gets_the_number_of_a_closed_stream() -> None:
    code = "from host import streams; streams.prepare(); print(open('README.md').fileno() > 2, file=streams.sys.stderr)"
    assert shell(f"'{sys.executable}' -c \"{code}\" >&- <&-")[2].strip() == "True"
    child = (
        "import subprocess; from host import streams; streams.prepare(); subprocess.run(['echo', 'lost'], check=True)"
    )
    assert shell(f"'{sys.executable}' -c \"{child}\" >&-") == (0, "", "")


@pytest.mark.parametrize("words", ["--help", LIGHT])
def test_a_reader_that_has_gone(words: str) -> None:
    """As `host … | head -1`, where the reader has gone before the first byte."""
    assert shell(f"{HOST} {words} | true; exit ${{PIPESTATUS[0]}}") == (141, "", "")


def test_a_command_that_fails_keeps_its_code_without_a_reader() -> None:
    assert shell(f"{HOST} boards nowhere 2>&1 | true; exit ${{PIPESTATUS[0]}}")[0] == 2


def test_a_full_disk_is_said() -> None:
    code, _, err = shell(f"{HOST} --help >/dev/full")
    assert code == 1
    assert "No space left" in err


POOR = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


@pytest.mark.parametrize("environment", POOR, ids=str)
def test_poor_encodings_get_stand_ins(environment: dict[str, str]) -> None:
    """By one process that prints what commands print."""
    code = (
        "from host import streams; streams.prepare(); from rich.console import Console; "
        "print('1.5 \\xb1 0.1', '\\u2588\\u2588', '\\u2026', '\\u65e5', '\\udcff'); "
        "Console().print('\\u2588'); Console(stderr=True).print('\\xb1 \\u2501')"
    )
    code, out, err = shell(f"'{sys.executable}' -c \"{code}\"", **environment)
    plus = "\xb1" if "latin-1" in environment.values() else "+-"
    assert (code, out) == (0, f"1.5 {plus} 0.1 ## ... \\u65e5 \\udcff\n#\n")
    assert err == f"{plus} -\n"


def test_a_typed_word_is_whole_in_a_poor_locale() -> None:
    assert streams.typed("d\udcc3\udcbcnn") == "d\u00fcnn"
    assert streams.typed("日本") == "日本"
    for broken in ("\udcff", "\udcc3", "\ud800"):
        with pytest.raises(UsageError, match="not UTF-8"):
            streams.typed(broken)


def test_stand_ins_know_no_other_errors() -> None:
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("utf-8", _registered())


def _registered() -> str:
    streams.codecs.register_error(streams.HANDLER, streams.stand_ins)
    return streams.HANDLER


def test_streams_that_cannot_be_changed_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's or a notebook's stand-in has no encoding and no descriptor."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.StringIO())
    streams.prepare()
    assert streams.finish() is None
    assert not streams.reader_gone(sys.stdout)
