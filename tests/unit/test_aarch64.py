# SPDX-License-Identifier: Apache-2.0
"""The program for AArch64 Linux chooses its kernels by what the processor has; its bits are in test_kernels.py and
golden/test_digests.py.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from host.boards import load_board
from host.link.client import Client
from host.places import build_root
from host.targets import parse_spec, simulators
from host.targets.abilities import missing_program
from host.targets.opening import build_firmware
from host.targets.process import ProcessTarget
from tests.support.tiny import tiny_image, tiny_llama

NEWER, OLDER = "max", "cortex-a53"
"""QEMU's processors with and without the dot product."""


def test_it_is_what_native_is_on_such_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    other = load_board("linux-aarch64")
    assert [one.name for one in other.chosen] == ["neon", "scalar"]
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    native = load_board("native")
    assert (native.machine, native.chosen, native.layout()) == ("aarch64", other.chosen, other.layout())
    assert simulators.qemu_user_command(other.machine, "", 0) == []
    assert missing_program(parse_spec("linux-aarch64")) == ""


def test_missing_qemu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert missing_program(parse_spec("linux-aarch64")) == "qemu-aarch64 is not installed"
    assert missing_program(parse_spec("linux")) == "qemu-riscv64 is not installed"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The program with an image."""
    spec = parse_spec("linux-aarch64")
    if missing := missing_program(spec):
        pytest.skip(missing)
    if not shutil.which("qemu-aarch64"):
        pytest.skip("qemu-aarch64 is not installed, and this processor is the only one")
    board = load_board(spec.board)
    build_firmware(board, spec, None)
    image = tmp_path_factory.mktemp("aarch64") / "tiny.hsp"
    tiny_image(image, tiny_llama())
    return [str(simulators.firmware_files(board, "", build_root()).program), "--image", str(image)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "forced", "kernels"),
    [(NEWER, [], "neon"), (OLDER, [], "scalar"), (NEWER, ["--kernels", "scalar"], "scalar")],
)
def test_the_processor_decides(command: list[str], processor: str, forced: list[str], kernels: str) -> None:
    whole = ["qemu-aarch64", "-cpu", processor, *command, *forced]
    with ProcessTarget(lambda _: whole, f"qemu-aarch64 with {processor}") as target:
        client = Client(target)
        client.connect()
        assert (client.info.kernels, client.info.board) == (kernels, "linux-aarch64")


@pytest.mark.slow
def test_kernels_that_the_processor_cannot_run_are_refused(command: list[str]) -> None:
    whole = ["qemu-aarch64", "-cpu", OLDER, *command, "--kernels", "neon"]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "this processor has no NEON dot product, which kernels neon need" in done.stderr
