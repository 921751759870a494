# SPDX-License-Identifier: Apache-2.0
"""The command lines of the simulators, made from a board's file."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from host.boards import Board
from host.errors import FitError, TargetError
from host.kernels import machine_name
from host.targets.process import ProcessTarget, start
from host.targets.spec import TargetSpec
from host.targets.spike_tool import find_spike

MIB = 1 << 20
UBOOT_PLACES = [
    Path("/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin"),
    Path("/usr/share/uboot/qemu-riscv64_smode/u-boot.bin"),
]
SPIKE_TOP = 4096
"""Spike leaves a page free above its initrd."""


@dataclass(frozen=True)
class Firmware:
    """What was built: the variant's directory and the file that the simulator boots."""

    directory: Path
    program: Path


def firmware_files(board: Board, kernels: str, build: Path) -> Firmware:
    """Where ``scons board=B kernels=K build=DIR`` puts things; where start-up chooses, all families are in one."""
    suffix = "" if board.chosen or kernels == board.kernels else f"-{kernels}"
    directory = build / f"{board.name}{suffix}"
    return Firmware(directory, directory / ("firmware" if board.hosted else "firmware.elf"))


def check_image(board: Board, image: Path | None) -> int:
    """Size of the image in bytes, 0 without one. Raises TargetError, FitError."""
    if image is None:
        return 0
    if not image.is_file():
        raise TargetError(f"{image}: there is no such image; make one with `host pack`")
    size, limit = image.stat().st_size, board.image_limit
    if limit is not None and size > limit:
        raise FitError(
            f"{image} has {size} bytes, board {board.name} holds {limit}: {size - limit} too many; "
            "pack with --weights q4"
        )
    return size


def qemu_program() -> str:
    """QEMU's system emulator. Raises TargetError where it is not installed."""
    program = shutil.which("qemu-system-riscv64")
    if not program:
        raise TargetError(
            "qemu-system-riscv64 is not installed (Debian, Ubuntu: apt install qemu-system-misc); "
            "--target spike needs no installation"
        )
    return program


def qemu_machine(board: Board, kernels: str, vlen: int, harts: int) -> list[str]:
    """QEMU's machine virt with the board's harts and DRAM, and nothing to boot."""
    assert board.memory
    cpu = f"rv64,v=true,vlen={vlen}" if kernels == "rvv" else "rv64"
    command = [qemu_program(), "-M", "virt", "-cpu", cpu, "-smp", str(harts)]
    return [*command, "-m", f"{board.memory.dram.size // MIB}M", "-display", "none", "-monitor", "none", "-no-reboot"]


def option_value(path: Path) -> str:
    """A path within one of QEMU's options, where a comma ends a value unless it is doubled."""
    return str(path).replace(",", ",,")


def serial_line(fd: int) -> list[str]:
    """QEMU's serial line on a socket."""
    return ["-chardev", f"socket,id=link,fd={fd}", "-serial", "chardev:link"]


def qemu_command(
    board: Board, firmware: Firmware, image: Path | None, kernels: str, vlen: int, harts: int
) -> list[str]:
    """QEMU's machine for the board, without its serial line."""
    assert board.memory
    command = qemu_machine(board, kernels, vlen, harts)
    command += ["-bios", "none", "-kernel", str(firmware.program)]
    if image:
        command += ["-device", f"loader,file={option_value(image)},addr={board.memory.image:#x},force-raw=on"]
    return command


def open_qemu(board: Board, spec: TargetSpec, firmware: Firmware, image: Path | None) -> ProcessTarget:
    """QEMU as a client on a socket pair, which loses nothing."""
    base = qemu_command(board, firmware, image, spec.kernels, spec.vlen, spec.harts)
    vector = f", VLEN {spec.vlen}" if spec.kernels == "rvv" else ""
    return ProcessTarget(
        lambda fd: [*base, *serial_line(fd)], f"{board.name} (QEMU, {_harts(spec.harts)}{vector})", on_socket=True
    )


def uboot_program() -> Path:
    """U-Boot for QEMU's machine virt in S-mode. Raises TargetError where it is not installed."""
    named = os.environ.get("HARTSPEAK_UBOOT")
    places = [Path(named)] if named else UBOOT_PLACES
    for path in places:
        if path.is_file():
            return path
    raise TargetError(
        f"U-Boot for QEMU is not at {' or '.join(map(str, places))} (Debian, Ubuntu: apt install u-boot-qemu opensbi); "
        "$HARTSPEAK_UBOOT names another u-boot.bin built from qemu-riscv64_smode_defconfig"
    )


def open_u_boot(board: Board, spec: TargetSpec, firmware: Firmware, image: Path | None) -> ProcessTarget:
    """QEMU with OpenSBI and U-Boot, which boots from the disk that the spec names or one made for this run."""
    from host.medium.uboot import write_boot_disk

    uboot_program()
    if spec.disk and not Path(spec.disk).is_file():
        raise TargetError(f"{spec.disk}: there is no such disk image; host flash --medium {spec.disk} makes one")
    path = Path(spec.disk) if spec.disk else _own_file(".img")
    try:
        if not spec.disk:
            write_boot_disk(path, board, firmware.directory, image)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    name = f"{board.name} (QEMU, OpenSBI, U-Boot, {_harts(spec.harts)})"
    return LoaderTarget(uboot_command(board, spec, path), name, None if spec.disk else path, on_socket=True)


def uboot_command(board: Board, spec: TargetSpec, disk: Path) -> Callable[[int], list[str]]:
    """QEMU's command line with OpenSBI, U-Boot and a disk, for the file descriptor of the line."""
    base = qemu_machine(board, spec.kernels, spec.vlen, spec.harts)
    base += ["-bios", "default", "-kernel", str(uboot_program())]
    base += [
        "-drive",
        f"if=none,id=disk,format=raw,file={option_value(disk)}",
        "-device",
        "virtio-blk-device,drive=disk",
    ]
    base += ["-global", "virtio-mmio.force-legacy=false"]
    return lambda fd: [*base, *serial_line(fd)]


def spike_isa(board: Board, spec: TargetSpec) -> str:
    """The ISA string for Spike."""
    if spec.isa:
        return spec.isa
    if spec.kernels != "rvv":
        return board.simulator.isa
    return f"{board.simulator.isa.replace('rv64gc', 'rv64gcv', 1)}_zvl{spec.vlen}b"


def open_spike(
    board: Board, spec: TargetSpec, firmware: Firmware, image: Path | None, progress: Callable[[str], None] | None
) -> ProcessTarget:
    """Spike on pipes with a device tree of our own; for a twin, our SBI shim below the unchanged flat binary."""
    assert board.memory
    from host.targets.device_tree import spike_tree

    spike, size, dram = find_spike(progress), check_image(board, image), board.memory.dram
    if size % SPIKE_TOP:
        raise TargetError(f"{image}: its size is no multiple of {SPIKE_TOP}, so it is cut short; pack or copy it again")
    memory = board.memory.image - dram.base + size + SPIKE_TOP
    isa, ids = spike_isa(board, spec), board.harts.ids[: spec.harts]
    tree = _own_file(".dtb", spike_tree(board, ids, isa, memory))
    command = [str(spike), f"-p{len(ids)}", f"--hartids={','.join(map(str, ids))}", f"--isa={isa}"]
    command += [f"-m{dram.base:#x}:{memory:#x}", f"--dtb={tree}"]
    command += [f"--initrd={image}"] if image else []
    twin = board.simulator.kind == "twin"
    if twin:
        command += [f"--kernel={firmware.directory / 'firmware.bin'}", str(firmware.directory / "shim.elf")]
    else:
        command.append(str(firmware.program))
    name = f"{board.name}'s twin" if twin else board.name
    vector = f", VLEN {spec.vlen}" if spec.kernels == "rvv" else ""
    return FileTarget(lambda _: command, f"{name} (Spike, {_harts(len(ids))}{vector})", tree)


def _own_file(suffix: str, data: bytes = b"") -> Path:
    """A new file for one run of a simulator."""
    descriptor, name = tempfile.mkstemp(prefix="hartspeak-", suffix=suffix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


class FileTarget(ProcessTarget):
    """A simulator with a file of its own, a device tree or a disk, which goes with it."""

    def __init__(
        self, command: Callable[[int], list[str]], description: str, file: Path | None, on_socket: bool = False
    ) -> None:
        self._file = file
        try:
            super().__init__(command, description, on_socket)
        except TargetError:
            self._remove()
            raise

    def _remove(self) -> None:
        if self._file:
            self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """End the simulator and remove its file."""
        super().close()
        self._remove()


class LoaderTarget(FileTarget):
    """A simulator that runs a boot loader first: nothing gets through to it, for any byte would stop its countdown."""

    def _start(self) -> None:
        self._framed = False
        super()._start()

    def read(self, timeout: float) -> bytes:
        """As every target; the first 0, which begins a frame, tells that the firmware runs."""
        data = super().read(timeout)
        self._framed = self._framed or b"\0" in data
        return data

    def write(self, data: bytes) -> None:
        """Send it; while the boot loader runs it is lost, as on a line that is not connected yet."""
        if self._framed:
            super().write(data)


def qemu_user_command(machine: str, kernels: str, vlen: int) -> list[str]:
    """What stands in front of a program of a machine's Linux: nothing on such a machine.

    Raises TargetError where QEMU is not installed.
    """
    names = qemu_user_programs(machine)
    if not names:
        return []
    program = next(filter(None, map(shutil.which, names)), None)
    if not program:
        raise TargetError(
            f"qemu-{machine} is not installed (Debian, Ubuntu: apt install qemu-user-static); "
            f"on a machine that is {machine} itself it is not needed"
        )
    cpu = "rv64" if machine == "riscv64" else "max"
    return [program, "-cpu", f"{cpu},v=true,vlen={vlen}" if kernels == "rvv" else cpu]


def qemu_user_programs(machine: str) -> tuple[str, ...]:
    """The names under which systems have QEMU's user mode for a machine; none on such a machine."""
    return () if machine == machine_name(platform.machine()) else (f"qemu-{machine}", f"qemu-{machine}-static")


def open_hosted(board: Board, spec: TargetSpec, firmware: Firmware, image: Path | None) -> ProcessTarget:
    """The firmware as a process of this machine, or of another one's Linux under QEMU's user mode."""
    check_image(board, image)
    if image is None:
        raise TargetError(f"target {spec.text!r} needs an image: its firmware maps it from the file")
    command = [str(firmware.program), "--image", str(image), "--harts", str(spec.harts)]
    command += ["--kernels", spec.kernels] if board.chosen and spec.kernels else []
    qemu = qemu_user_command(board.machine, spec.kernels, spec.vlen)
    runner = f"qemu-{board.machine}" + f", VLEN {spec.vlen}" * (spec.kernels == "rvv") if qemu else "this machine"
    command = [*qemu, *command]
    return ProcessTarget(lambda _: command, f"{board.name} ({runner}, {_harts(spec.harts)})")


def _harts(count: int) -> str:
    return f"{count} hart{'s' * (count != 1)}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def debug_server(board: Board, elf: Path, kernels: str, harts: int, image: Path | None) -> Iterator[tuple[int, int]]:
    """QEMU halted at the first instruction: TCP ports of its GDB server and of the serial line. Raises TargetError."""
    check_image(board, image)
    gdb, line = _free_port(), _free_port()
    command = qemu_command(board, Firmware(elf.parent, elf), image, kernels, board.vlen, harts)
    command += ["-gdb", f"tcp:127.0.0.1:{gdb}", "-S", "-serial", f"tcp:127.0.0.1:{line},server=on,wait=off"]
    process = start(command, "QEMU", stdin=subprocess.DEVNULL)
    try:
        yield gdb, line
    finally:
        process.kill()
        process.wait()
