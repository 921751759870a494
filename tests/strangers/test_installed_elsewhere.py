# SPDX-License-Identifier: Apache-2.0
"""Hartspeak installed from a wheel, used far from any checkout.

The wheel is made from a copy of the tracked files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.model_files import write_folder
from tests.support.native import ROOT, build_library
from tests.support.tiny import tiny_image, tiny_llama

BUILD = "from setuptools import build_meta; print(build_meta.build_{kind}({folder!r}))"
PROJECT = """
import os
from typer.testing import CliRunner
from host import boards, places
from host.cli import create_app
from host.files.recipe import recipes

def test_what_came_along():
    assert places.INSTALLED
    assert {"visionfive2", "native"} <= set(boards.board_names())
    assert "smollm2-135m-instruct" in [recipe.name for recipe in recipes()]

def test_pack():
    words = ["pack", "model", "-o", "packed.hsp", "--board", "native"]
    CliRunner().invoke(create_app(), words, catch_exceptions=False)
    assert os.path.getsize("packed.hsp") > 4096

def test_answer(client, image):
    assert image.name == "packed.hsp"
    client.prompt([1, 2, 3])
    assert len([token.id for token in client.generate(4)]) == 4
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and a folder that is somewhere else."""

    python: Path
    data: Path
    work: Path
    environment: dict[str, str]

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), "-m", *words]
        environment = self.environment | more
        done = subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done


def _made(kind: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-c", BUILD.format(kind=kind, folder=str(folder))]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1]


def copy_of_checkout(copy: Path) -> Path:
    """All tracked files but the tests."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_of_checkout(folder / "checkout")
    wheel = _made("wheel", source, folder)
    venv.EnvBuilder(symlinks=True).create(folder / "venv")
    bases = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    site = Path(sysconfig.get_path("purelib", "venv", bases))
    zipfile.ZipFile(wheel).extractall(site)
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "work").mkdir()
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("HARTSPEAK_", "PYTHON", "PYTEST"))
    }
    kept["HARTSPEAK_CACHE"] = str(folder / "cache")
    return Installed(folder / "venv/bin/python", site / "host/data", folder / "work", kept)


def _same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def test_it_has_all_that_a_checkout_builds_from(installed: Installed) -> None:
    parts = [path for folder in ("boards", "models", "firmware", "linker") for path in (ROOT / folder).rglob("*.*")]
    parts = [path for path in parts if path.is_file() and path.suffix != ".pyc"]
    assert len(parts) > 150
    for path in [*parts, ROOT / "SConstruct"]:
        assert _same(path, installed.data / path.relative_to(ROOT))


@pytest.mark.slow
def test_scons_finds_every_source(installed: Installed) -> None:
    done = installed.run("host", "build", "qemu-virt", "--dry-run")
    assert "CC   firmware/engine/load.c" in done.stdout
    assert f"LINK {installed.environment['HARTSPEAK_CACHE']}/build/" in done.stdout
    assert not list(installed.data.rglob(".sconsign*"))


def test_it_packs_and_its_plugin_works_in_another_project(installed: Installed) -> None:
    """By the native firmware that these tests have; building it is the slow test's."""
    write_folder(tiny_llama(), installed.work / "model")
    (installed.work / "test_project.py").write_text(PROJECT)
    build = {"HARTSPEAK_BUILD": str(build_library().parents[1])}
    done = installed.run("pytest", "-q", "-p", "no:cacheprovider", "--hart-image", "packed.hsp", **build)
    assert "3 passed" in done.stdout
    assert list(Path(installed.environment["HARTSPEAK_CACHE"]).glob("compiled/scales-*"))


@pytest.mark.slow
def test_an_sdist_gives_the_same_wheel(installed: Installed, tmp_path: Path) -> None:
    with tarfile.open(_made("sdist", copy_of_checkout(tmp_path / "checkout"), tmp_path)) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    (unpacked,) = (tmp_path / "sdist").iterdir()
    found = zipfile.ZipFile(_made("wheel", unpacked, tmp_path)).namelist()
    assert {name for name in found if name.startswith("host/")} == {
        str(path.relative_to(installed.data.parents[1]))
        for path in installed.data.parent.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.mark.slow
def test_firmware_is_built_on_first_use(installed: Installed) -> None:
    """In the user's cache, nothing beside the package; then found again."""
    tiny_image(installed.work / "first.hsp", tiny_llama())
    words = ("host", "run", "first.hsp", "--raw", "-p", "a", "--max-tokens", "2", "--target")
    assert "building the firmware for native (scalar), once" in installed.run(*words, "native").stderr
    assert "building" not in installed.run(*words, "native").stderr
    assert "built in" in installed.run("host", "build", "qemu-virt", "-j1", "--model", "first.hsp").stdout
    if shutil.which("qemu-system-riscv64"):
        installed.run(*words, "qemu-virt")
