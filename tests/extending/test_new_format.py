# SPDX-License-Identifier: Apache-2.0
"""A new weight format is one file in Python and one header in C: those of docs/adding-a-format.md."""

from __future__ import annotations

import re

import pytest

from tests.support.scratch import ROOT, Scratch, copy_checkout

PAGE = ROOT / "docs/adding-a-format.md"
EXAMPLE = re.compile(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    found = Scratch(copy_checkout(tmp_path_factory.mktemp("format")))
    files = dict(EXAMPLE.findall(PAGE.read_text()))
    assert sorted(files) == ["firmware/formats/q5.h", "host/schema/formats/q5.py"]
    for name, text in files.items():
        found.add(name, text)
    return found


def test_its_bytes_and_values(scratch: Scratch) -> None:
    scratch.test("tests/unit/test_quant.py", "-k", "q5 or list or round_trip")
    header = scratch.folder / "formats.h"
    scratch.run("tools.gen_headers", "formats", str(header))
    assert "X(Q5, RVV, scalar_linear_q5_rvv)" in header.read_text()


def test_it_is_offered(scratch: Scratch) -> None:
    assert "q5" in scratch.run("host", "pack", "--help")
    scratch.test("tests/strangers/test_command_line.py", "tests/strangers/test_what_fits.py")


def test_its_files_are_clean(scratch: Scratch) -> None:
    scratch.run("mypy", "host/schema/formats/q5.py")


def test_it_runs(scratch: Scratch) -> None:
    """Packed, read, embedded, multiplied, and near f32 in a model; the tests name it because they read the folder."""
    where = (
        "tests/unit/test_image.py",
        "tests/unit/test_kernels.py",
        "tests/ops/test_embed.py",
        "tests/ops/test_linear.py",
    )
    said = scratch.test(*where, "tests/unit/test_compiler.py", "-k", "q5 or near_f32 or same_logits", timeout=900)
    assert int(re.search(r"(\d+) passed", said)[1]) > 20  # type: ignore[index]


@pytest.mark.slow
def test_it_is_the_same_on_every_core(scratch: Scratch) -> None:
    scratch.test("tests/unit/test_kernels.py", "-k", "agree or spike", timeout=900)
