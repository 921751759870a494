# SPDX-License-Identifier: Apache-2.0
"""Families of kernels: their files, and which one a program for this machine chooses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from host.boards import load_board
from host.errors import TargetError, UsageError
from host.kernels import KERNELS, families, families_of, machine_name, read_family
from host.link.client import Client
from host.targets import open_target
from tests.support.hosted import native_program
from tests.support.native import build_library, family_problem
from tests.support.tiny import tiny_image, tiny_llama


def test_files_are_the_folders_with_tables() -> None:
    assert {path.parent.name for path in KERNELS.glob("*/table.c")} == set(families())


def test_the_best_family_comes_first_and_scalar_is_everywhere() -> None:
    for machine in ("x86_64", "aarch64", "riscv64"):
        names = [one.name for one in families_of(machine)]
        assert names[-1] == "scalar"
        assert [families()[name].rank for name in names] == sorted((families()[n].rank for n in names), reverse=True)
    assert "avx2" in [one.name for one in families_of(machine_name("AMD64"))]
    assert [one.name for one in load_board("spike").chosen] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layout = 'rvv'", "words"),
        ("words = 'x'\nlayout = 'rvv'\nrank = 'high'", "rank is 'high'"),
        ("words = 'x'\nlayout = 'rvv'\nrank = 1\nfeatures = 'avx2'", "features is 'avx2'"),
        ("words = 'x'\nlayout = 'rvv'\nrank = 1\nneeds = []", "needs"),
        ("words =", "Invalid value"),
    ],
)
def test_faulty_files_name_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "fast" / "family.toml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError, match=f"fast/family.toml.*{words}"):
        read_family(path)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build_library()
    path = tmp_path_factory.mktemp("families") / "tiny.hsp"
    tiny_image(path, tiny_llama())
    return path


@pytest.mark.parametrize("name", ["", *(one.name for one in load_board("native").chosen)])
def test_a_family_can_be_forced_and_is_named_in_the_hello(image: Path, name: str) -> None:
    """Without a name the best one that runs here; one that this processor has not is refused in words."""
    chosen = [one.name for one in load_board("native").chosen]
    problem = family_problem(name)
    if problem:
        with pytest.raises(TargetError, match="processor has no"), open_target(f"native:{name}", image) as target:
            Client(target).connect()
        return
    with open_target(f"native:{name}" if name else "native", image) as target:
        client = Client(target)
        client.connect()
        assert client.info.kernels == (name or next(one for one in chosen if not family_problem(one)))


def test_a_family_that_is_not_built_is_refused_with_those_that_are(image: Path) -> None:
    command = [str(native_program()), "--image", str(image), "--kernels", "fastest"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no kernels fastest are built; there are" in done.stderr
    assert done.stderr.rstrip().endswith("scalar")


@pytest.mark.skipif(load_board("native").machine != "x86_64", reason="this machine is no x86-64")
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="qemu-x86_64 is not installed")
def test_a_processor_that_cannot_run_the_program_is_told_so(image: Path) -> None:
    """Not a signal: what asks is compiled for any x86-64."""
    command = ["qemu-x86_64", "-cpu", "Nehalem", str(native_program()), "--image", str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "this processor has no x86-64-v3" in done.stderr
