# SPDX-License-Identifier: Apache-2.0
"""The commands of the docs that need a board, run in their order without one.

Every image is a tiny model's, packed for the board for which the page packs it. The card is a file; the board is a
firmware behind a serial device of our own, which boots what the page has written to the card. What only asks a board
for something that no stand-in has is run as far as its plan.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from host.boards import board_names
from host.cli import create_app
from host.image.reader import Image
from host.medium import disk
from host.packing.pack import PackRequest
from host.packing.shown import pack_image
from host.places import build_root
from tests.docs.test_commands import ALL, Command
from tests.support.model_files import write_folder
from tests.support.tiny import tiny_llama

PORT, CARD = "/dev/ttyUSB0", "/dev/sdX"
NOT_HERE = re.compile(r"^(python3 -m venv|farm/bin/|LG_COORDINATOR)")  # test_farm.py does it, where labgrid is
TRAP = "mepc 0000000040200000\n"


@dataclass
class Bench:
    """What stands for the board of one page: a folder, a card, and who answers on the line."""

    folder: Path
    target: str
    card: Path = field(init=False)

    def __post_init__(self) -> None:
        self.card = self.folder / "card.img"

    @contextlib.contextmanager
    def line(self, image: Path) -> Iterator[str]:
        """A serial device with a firmware behind it, which runs what is on the card, else ``image``."""
        booted = self._slot_a() if self.card.exists() else image
        command = [sys.executable, "-m", "host.faults", "--target", self.target, "--baud", "0"]
        command += ["--image", str(booted.absolute())]
        environment = os.environ | {"HARTSPEAK_BUILD": str(REAL_BUILD)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT, text=True) as process:
            assert process.stdout
            try:
                yield process.stdout.readline().strip()
            finally:
                process.send_signal(signal.SIGTERM)

    def _slot_a(self) -> Path:
        with self.card.open("rb") as file:
            layout = disk.read_layout(file, self.card.stat().st_size)
            file.seek(layout.parts["model_a"].offset)
            data = file.read(layout.parts["model_a"].size)
        path = self.folder / "booted.hsp"
        path.write_bytes(data)
        path.write_bytes(data[: Image(path).header["file_size"]])
        return path


REAL_BUILD = build_root()
ROOT = Path(__file__).resolve().parents[2]


def board_of(name: str, page: str) -> str:
    """For which board a page makes an image of this name."""
    for command in ALL[page]:
        words = shlex.split(command.text)
        if words[:2] == ["host", "pack"] and name in words and "--board" in words:
            return words[words.index("--board") + 1]
    parts = Path(name).parts
    return parts[1] if parts[0] == "build" and parts[1] in board_names() else "native"


def make_images(page: str, folder: Path) -> None:
    model = write_folder(tiny_llama(), folder / "model")
    named = {word for command in ALL[page] for word in shlex.split(command.text) if word.endswith(".hsp")}
    for name in named:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pack_image(PackRequest(source=str(model), board=board_of(name, page)), path, quiet=True)


def run_host(bench: Bench, words: list[str]) -> None:
    """A command of ours, in this process."""
    words = [str(bench.card) if word == CARD else word for word in words]
    image = next((Path(word) for word in words if word.endswith(".hsp")), Path("none.hsp"))
    with contextlib.ExitStack() as stack:
        if words[0] == "flash" and "--port" in words:
            words.append("--dry-run")
        elif PORT in words:
            device = stack.enter_context(bench.line(image))
            words = [device if word == PORT else word for word in words]
        result = CliRunner().invoke(create_app(), words, input="Name one colour.\n/quit\n", catch_exceptions=False)
    assert result.exit_code == 0, result.output


def run_other(words: list[str]) -> None:
    """pytest only collects; a server is started, and ended once it serves."""
    environment = os.environ | {"HARTSPEAK_BUILD": str(REAL_BUILD)}
    if words[0] == "pytest":
        command = [sys.executable, "-m", *words, "--collect-only", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return
    assert words[:3] == ["python", "-m", "host.faults"], words
    image = str(Path("model.hsp").absolute())
    words = [image if word == "model.hsp" else word for word in words]
    words = ["native" if word == "qemu-virt" else word for word in words]
    command = [sys.executable, *words[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("/dev/")
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def run_page(page: str, commands: list[Command], bench: Bench) -> None:
    make_images(page, bench.folder)
    (bench.folder / "trap.txt").write_text(TRAP)
    for command in commands:
        words = shlex.split(command.text)
        if NOT_HERE.match(command.text):
            continue
        print(f"{page}:{command.line}: {command.text}")
        if words[0] != "host":
            run_other(words)
        elif words[1] == "symbolize":
            elf = REAL_BUILD / Path(words[2]).relative_to("build")
            if elf.is_file():
                run_host(bench, ["symbolize", str(elf), words[3]])
        else:
            run_host(bench, words[1:])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with what a build leaves for a disk."""
    built = tmp_path / "build" / "visionfive2"
    built.mkdir(parents=True)
    for name in ("firmware.bin", "selector.bin", "firmware.elf"):
        (built / name).write_bytes(name.encode() * 1000)
    monkeypatch.setenv("HARTSPEAK_BUILD", str(tmp_path / "build"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


PAGES = {page: [c for c in found if c.needs_board] for page, found in ALL.items()}


SECONDS = re.compile(r"^(pytest|host symbolize) ")
"""Commands that take several."""
LONG = {page for page, found in PAGES.items() if any(SECONDS.match(command.text) for command in found)} | {"porting.md"}
"""The last has what the README has."""


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page in LONG)) for page, found in PAGES.items() if found]
)
def test_board_commands_run(page: str, folder: Path) -> None:
    run_page(page, PAGES[page], Bench(folder, "native"))


@pytest.mark.slow
def test_the_readmes_run_on_the_boards_twin(folder: Path) -> None:
    run_page("README.md", PAGES["README.md"], Bench(folder, "visionfive2@spike"))
