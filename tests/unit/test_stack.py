# SPDX-License-Identifier: Apache-2.0
"""Stacks: the static bound, the paint against it, the guard, and what a trap's text says."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from host.boards import load_board
from host.errors import FitError, HostError, UsageError
from host.link.client import Client
from host.symbolize import Symbols, symbolize
from host.targets import Target, open_target, simulators
from host.targets.process import ProcessTarget
from tests.support.native import ROOT
from tests.support.tiny import tiny_image, tiny_llama
from tools import stack_bound
from tools.scons.toolchain import zig_path

BUILD = ROOT / os.environ.get("HARTSPEAK_BUILD", "build")
TARGET = ["-target", "riscv64-freestanding-none", "-mcpu=generic_rv64+m+a+f+d+c", "-mabi=lp64d", "-mcmodel=medany"]
RECURSES = "int depth(volatile int *p) { return *p ? depth(p) + *p : 0; }"
GROWS = "void use(char *p) { *(volatile char *)p = 0; } void grow(int n) { char a[n]; use(a); use(a); }"
CALLS = "int jump(int (*f)(int)) { return f(1) + 1; }"
LEAF = "__attribute__((noinline)) void leaf(int x) { volatile char a[256]; a[x] = 1; }"
PLAIN = LEAF + " void top(int x) { volatile char a[512]; a[x] = 1; leaf(x); a[x] = 2; }"


def compiled(tmp_path: Path, code: str) -> Path:
    source, elf = tmp_path / "part.c", tmp_path / "part.elf"
    source.write_text(code + "\nconst int some = 1; int more = 2; void _start(void) { }\n")
    flags = ["-O1", "-nostdlib", "-static", "-ffreestanding", "-fstack-size-section", "-fno-optimize-sibling-calls"]
    command = [zig_path(), "cc", *TARGET, *flags, "-Wl,--no-gc-sections", str(source), "-o", str(elf)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return elf


@pytest.mark.parametrize(
    ("code", "root", "words"),
    [
        (RECURSES, "depth", "recursion: depth -> depth"),
        (GROWS, "grow", "no constant size"),
        (PLAIN, "absent", "no function absent"),
    ],
)
def test_what_has_no_bound_is_refused(tmp_path: Path, code: str, root: str, words: str) -> None:
    with pytest.raises(HostError, match=words):
        stack_bound.Program(compiled(tmp_path, code)).deepest(root)


def test_undeclared_pointer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_bound, "POINTERS", [])
    with pytest.raises(HostError, match=r"jump .*pointer"):
        stack_bound.Program(compiled(tmp_path, CALLS)).deepest("jump")


def test_chain_adds_the_frames(tmp_path: Path) -> None:
    chain = stack_bound.Program(compiled(tmp_path, PLAIN)).deepest("top")
    assert [name for name, _ in chain.steps] == ["top", "leaf"]
    assert chain.steps[0][1] >= 512 + 8
    assert 256 <= chain.steps[1][1] < 320
    assert chain.total == sum(size for _, size in chain.steps)


def test_large_frame_counts_once(tmp_path: Path) -> None:
    """What clang takes from sp by way of c.lui and addi stands in .stack_sizes too."""
    large = "void top(int x) { volatile char a[7000]; a[x] = 1; }"
    assert 7000 < stack_bound.Program(compiled(tmp_path, large)).deepest("top").total < 7200


def firmware() -> Path:
    """Spike's firmware, up to date."""
    command = [sys.executable, "-m", "SCons", "-s", f"build={BUILD}", "board=spike", "kernels=scalar"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return BUILD / "spike-scalar/firmware.elf"


def test_small_stack_fails_the_check() -> None:
    elf = firmware()
    assert "stack of boot hart" in stack_bound.check(elf, 64 << 10)
    with pytest.raises(FitError, match=r"boot hart .*\d+ bytes.* 4096.* bare_main"):
        stack_bound.check(elf, 12 << 10)


def read_until(target: Target, pattern: bytes) -> str:
    said, end = b"", time.monotonic() + 60
    while not re.search(pattern, said):
        assert time.monotonic() < end, said[-500:]
        said += target.read(0.5)
    return said.decode(errors="replace")


def overflowing(tmp_path: Path, elf: Path) -> Path:
    """The firmware with a device_run() that only calls itself with a frame of 16 bytes."""
    with elf.open("rb") as stream:
        file: Any = ELFFile(stream)
        text = file.get_section_by_name(".text")
        [symbol] = file.get_section_by_name(".symtab").get_symbol_by_name("device_run")
        place = text["sh_offset"] + symbol["st_value"] - text["sh_addr"]
    code = bytearray(elf.read_bytes())
    # addi sp, sp, -16; sd ra, 0(sp); jal ra, -8
    code[place : place + 12] = b"".join(w.to_bytes(4, "little") for w in (0xFF010113, 0x00113023, 0xFF9FF0EF))
    folder = tmp_path / "spike-scalar"
    folder.mkdir()
    (folder / "firmware.elf").write_bytes(code)
    return folder / "firmware.elf"


def test_overflow_meets_the_guard_and_is_symbolized(tmp_path: Path) -> None:
    elf = overflowing(tmp_path, firmware())
    with open_target(f"spike:scalar,build={tmp_path}", None) as target:
        said = read_until(target, rb"STACK:.*\r\n")
    assert "TRAP: stack overflow, store access fault; cause 0x0000000000000007" in said
    lines = list(symbolize(Symbols(elf), said))
    assert any(line.startswith("  at device_run+0x4") for line in lines)
    assert any("perhaps called from device_run+" in line for line in lines)


def test_symbolize_refuses_what_is_no_elf(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no ELF at all")
    with pytest.raises(UsageError, match="ELF"):
        Symbols(tmp_path / "x")
    with pytest.raises(UsageError, match="no such file"):
        Symbols(tmp_path / "y")


def filling(tmp_path: Path, elf: Path) -> Path:
    """The S-mode firmware with a device_run() that fills its stack to 64 bytes below the end, then stays there."""
    program = stack_bound.Program(elf)
    run = program.symbols["device_run"]
    offset = program.symbols["stacks_start"] + 2 * stack_bound.GUARD - 64 - run
    high, low = (offset + 0x800) >> 12, offset & 0xFFF
    # auipc t0, high; addi t0, t0, low; addi sp, sp, -16; sd ra, 8(sp); bltu t0, sp, -8; j .
    words = (high << 12 | 0x297, low << 20 | 0x28293, 0xFF010113, 0x00113423, 0xFE22ECE3, 0x0000006F)
    folder = tmp_path / "visionfive2"
    folder.mkdir()
    board = load_board("visionfive2")
    assert board.memory
    code = bytearray((elf.parent / "firmware.bin").read_bytes())
    place = run - board.memory.firmware.base
    code[place : place + 4 * len(words)] = b"".join(word.to_bytes(4, "little") for word in words)
    (folder / "firmware.bin").write_bytes(code)
    shutil.copy(elf.parent / "shim.elf", folder)
    shutil.copy(elf, folder)
    return folder


def test_overflow_in_s_mode_is_found_by_the_tick(tmp_path: Path) -> None:
    with open_target("visionfive2@spike:harts=1", None) as target:
        read_until(target, b"no model")
    files = simulators.firmware_files(load_board("visionfive2"), "scalar", BUILD)
    filling(tmp_path, files.program)
    with open_target(f"visionfive2@spike:harts=1,build={tmp_path}", None) as target:
        said = read_until(target, rb"TRAP.*\r\n")
    assert "TRAP: stack overflow; hart 0x0000000000000001 (found by the tick)" in said


def test_shim_and_applet_have_bounds() -> None:
    open_target("visionfive2@spike:harts=1", None).close()
    board = load_board("visionfive2")
    folder = simulators.firmware_files(board, "scalar", BUILD).directory
    assert board.memory
    shim, applet = (stack_bound.bounds(folder / f"{name}.elf") for name in ("shim", "applet"))
    assert 100 < max(chain.total for chain in shim.values()) <= board.memory.stack // 2
    assert 1000 < applet["U-Boot's hart"].total < 4096


@pytest.mark.skipif(not shutil.which("qemu-system-riscv64"), reason="QEMU is not installed")
def test_paint_is_left_below_the_bound(tmp_path: Path) -> None:
    """QEMU's monitor saves the stacks of both harts once a model has answered."""
    with open_target("qemu-virt:harts=1", None) as target:
        read_until(target, b"no model")
    board = load_board("qemu-virt")
    files = simulators.firmware_files(board, "scalar", BUILD)
    assert board.memory
    start = stack_bound.Program(files.program).symbols["stacks_start"]
    tiny_image(tmp_path / "tiny.hsp", tiny_llama())
    command = simulators.qemu_command(board, files, tmp_path / "tiny.hsp", "scalar", 128, 2)
    saved = tmp_path / "stacks"
    command[command.index("-monitor") + 1] = f"unix:{tmp_path}/monitor,server=on,wait=off"
    line = ["-chardev", "socket,id=link,fd=FD", "-serial", "chardev:link"]
    target = ProcessTarget(
        lambda fd: [*command, *(word.replace("FD", str(fd)) for word in line)], "QEMU", on_socket=True
    )
    with target, socket.socket(socket.AF_UNIX) as monitor:
        client = Client(target, patience=60.0)
        client.connect(60.0)
        client.prompt([1 + i % 100 for i in range(100)])
        assert len(list(client.generate(3))) == 3
        monitor.connect(f"{tmp_path}/monitor")
        monitor.sendall(f'pmemsave {start:#x} {2 * board.memory.stack} "{saved}"\nquit\n'.encode())
        while monitor.recv(4096):
            pass
    paint = stack_bound.PAINT.to_bytes(8, "little")
    bounds = stack_bound.bounds(files.program)
    for hart, bound in enumerate((bounds["boot hart"], bounds["other harts"])):
        stack = saved.read_bytes()[hart * board.memory.stack : (hart + 1) * board.memory.stack]
        words = [stack[at : at + 8] for at in range(2 * stack_bound.GUARD, len(stack), 8)]
        used = 8 * (len(words) - next(i for i, word in enumerate(words) if word != paint))
        assert 1000 < used <= bound.total
        assert stack[stack_bound.TRAP_STACK : 2 * stack_bound.GUARD] == paint * (stack_bound.GUARD // 8)
