# SPDX-License-Identifier: Apache-2.0
"""A generated header is replaced whole, and left alone where its text stays."""

from __future__ import annotations

import mmap
from pathlib import Path

from tools.generated import write_generated


def test_a_compiler_that_maps_the_old_header_keeps_it(tmp_path: Path) -> None:
    out = tmp_path / "gen" / "image.h"
    write_generated(out, "a" * 10_000)
    with out.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        write_generated(out, "b")
        assert mapped[-1:] == b"a"
    assert out.read_text() == "b"
    assert list(out.parent.iterdir()) == [out]


def test_the_same_text_leaves_the_file(tmp_path: Path) -> None:
    out = tmp_path / "errors.h"
    write_generated(out, "same")
    before = out.stat()
    write_generated(out, "same")
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
