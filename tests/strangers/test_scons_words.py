# SPDX-License-Identifier: Apache-2.0
"""Words that SCons or a shell would evaluate, in paths and settings of a build.

SCons reads ``${...}`` as Python, and gives commands to a shell.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.boards import load_board
from host.errors import UsageError
from host.trust.keys import make_keys
from tests.support.native import ROOT, build_library
from tests.support.tiny import tiny_image, tiny_llama
from tools.scons import settings
from tools.scons.options import make_options

EVIL = "${__import__('os').mkdir('evil')} `mkdir evil`; $HOME 'q' #, ü=&"
"""Works as a name wherever a name is asked for."""
BROKEN = ("line\nbreak", 'a "quote"', "back\\slash", "$(x", "50%")


def scons(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "SCons", "-s", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    before = set(ROOT.iterdir())
    yield
    assert set(ROOT.iterdir()) <= before | {ROOT / "compile_commands.json", ROOT / "build"}


def test_a_setting_is_no_program() -> None:
    """Read as SConstruct reads them."""
    names = ("board", "kernels", "model", "toolchain", "dram", "harts", "watchdog", "faults")
    found = settings.read_settings(tuple(settings.Setting(name, "") for name in names), dict.fromkeys(names, EVIL))
    assert found == dict.fromkeys(names, EVIL)
    with pytest.raises(UsageError, match=r"option \$\{__import__"):
        settings.read_settings((), {EVIL: "1"})


def test_every_setting_reaches_scons_unread(tmp_path: Path) -> None:
    """A whole build that ends at once: a wrong value is told as it was typed."""
    done = scons("board=native", f"build={tmp_path}", f"cache={tmp_path}/{EVIL}", f"model={EVIL}")
    assert f"model={EVIL}: there is no such image" in done.stderr


@pytest.mark.slow
def test_names_of_every_kind_work(tmp_path: Path) -> None:
    """Image, key, cache and build folder; nothing is compiled here, only what would be is said."""
    folder = tmp_path / EVIL
    folder.mkdir()
    tiny_image(folder / "line\nbreak #.hsp", tiny_llama())
    key = make_keys(folder / "k")
    words = [f"model={folder}/line\nbreak #.hsp", f"key={key}", f"cache={folder}/cache", f"build={folder}/build"]
    done = scons("-n", "board=linux", *words)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("name", BROKEN)
def test_a_build_folder_that_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    given = dict.fromkeys(("kernels", "harts", "watchdog", "cache", "key"), "") | {"lowest_version": "0"}
    with pytest.raises(UsageError, match="rename"):
        make_options(load_board("native"), given | {"build": str(tmp_path / name)})
    assert list(tmp_path.iterdir()) == []


def test_an_image_of_any_name_is_built_with(tmp_path: Path) -> None:
    """To the memory table, in the build that the tests have anyway."""
    image = tmp_path / (EVIL + "\n.hsp")
    tiny_image(image, tiny_llama())
    build = build_library().parents[1]
    done = scons("board=native", f"build={build}", f"model={image}", f"{build}/native/memory.txt")
    assert done.returncode == 0, done.stderr
    assert "model image" in done.stdout


@pytest.mark.slow
def test_a_checkout_and_a_build_of_any_name(tmp_path: Path) -> None:
    """All of a board's firmware, compiled in such a folder from a checkout in another one."""
    copy, build = tmp_path / EVIL / "checkout", tmp_path / EVIL / "build"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("build", ".*", "__pycache__"))
    for words in (["board=visionfive2"], ["board=native", f"build={build}"]):
        done = scons(*words, "toolchain=zig", cwd=copy)
        assert done.returncode == 0, done.stderr
    assert (copy / "build/visionfive2/selector.bin").is_file()
    assert (build / "native/firmware").is_file()
    assert not list(tmp_path.rglob("evil"))
