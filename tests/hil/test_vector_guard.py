# SPDX-License-Identifier: Apache-2.0
"""Firmware that is built for V says so on a core without it, or with another, instead of dying."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from host.boards import load_board
from host.errors import TargetError
from host.places import build_root
from host.targets import open_target, parse_spec, simulators
from host.targets.opening import build_firmware
from tests.support.tiny import tiny_image, tiny_llama

NONE = "is built for the V extension and this core has none: build with kernels=scalar"
OLD = "vectors are version 0.7.1"
needs_qemu = pytest.mark.skipif(not shutil.which("qemu-system-riscv64"), reason="QEMU is not installed")


def test_spike_without_v() -> None:
    with open_target("spike:rvv,isa=rv64gc_zba_zbb_zicntr_zihpm", None) as target:
        said = b""
        while b"scalar\r\n" not in said:
            said += target.read(60)
        with pytest.raises(TargetError, match="exit status 1"):
            target.read(60)
    assert NONE in said.decode()


def firmware(board: str) -> simulators.Firmware:
    """The RVV firmware, built where it is missing."""
    spec = parse_spec(f"{board}:rvv")
    files = simulators.firmware_files(load_board(board), "rvv", build_root())
    if not files.program.is_file():
        build_firmware(load_board(board), spec, None)
    return files


@needs_qemu
@pytest.mark.parametrize(
    ("cpu", "words"),
    [
        ("rv64", NONE),
        ("rv64,v=true,vlen=128,mvendorid=0x5b7,mimpid=0", OLD),
        ("rv64,mvendorid=0x5b7,mimpid=0", OLD),
        ("rv64,v=true,vlen=128,mvendorid=0x5b7,mimpid=1", "VLEN 128"),
    ],
)
def test_qemu_with_another_core(cpu: str, words: str) -> None:
    board = load_board("qemu-virt")
    command = simulators.qemu_command(board, firmware("qemu-virt"), None, "rvv", 128, 1)
    command[command.index("-cpu") + 1] = cpu
    with subprocess.Popen([*command, "-serial", "stdio"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout
        said = ""
        try:
            while words not in said and (line := process.stdout.readline()):
                said += line.decode(errors="replace")
        finally:
            process.kill()
    assert words in said


def test_linux_without_v(tmp_path: Path) -> None:
    program = shutil.which("qemu-riscv64") or shutil.which("qemu-riscv64-static")
    if not program:
        pytest.skip("qemu-riscv64 is not installed")
    image = tmp_path / "tiny.hsp"
    tiny_image(image, tiny_llama())
    command = [program, "-cpu", "rv64,v=false", firmware("linux").program, "--image", image]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert NONE in done.stderr
