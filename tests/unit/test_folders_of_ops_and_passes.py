# SPDX-License-Identifier: Apache-2.0
"""What reading host/ops and host/compiler/passes refuses: two files of one number, and a file of two names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import host.compiler.passes
import host.ops

OPS = Path(host.ops.__path__[0])
PASSES = Path(host.compiler.passes.__path__[0])


@pytest.fixture
def more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder beside both; what is imported from it is forgotten afterwards."""
    for package in (host.ops, host.compiler.passes):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_two_ops_with_one_id(more: Path) -> None:
    (more / "twin.py").write_text((OPS / "gather.py").read_text())
    with pytest.raises(AssertionError, match="gather and twin have the same id 10"):
        host.ops._read()


def test_an_op_by_another_name(more: Path) -> None:
    (more / "other.py").write_text("from host.ops.gather import FIELDS, Gather, Op\nOP = Op(4000, 1, FIELDS, Gather)\n")
    with pytest.raises(AssertionError, match=r"other\.py declares the node of gather"):
        host.ops._read()


def test_a_record_that_is_too_large(more: Path) -> None:
    text = (OPS / "gather.py").read_text().replace("OP = Op(10", "OP = Op(4000")
    (more / "large.py").write_text(text.replace('"width" / Int32ul,', '"width" / Int32ul[23],'))
    with pytest.raises(AssertionError, match="124 bytes"):
        host.ops._read()
    (more / "large.py").unlink()
    (more / "fits.py").write_text(text.replace('"width" / Int32ul,', '"width" / Int32ul[22],'))
    assert host.ops._read()[4000].fields.sizeof() == 120


def test_two_passes_with_one_place(more: Path) -> None:
    (more / "twin.py").write_text((PASSES / "dce.py").read_text())
    with pytest.raises(AssertionError, match="dce and twin have the same place 120"):
        host.compiler.passes._read()
