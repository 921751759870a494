# SPDX-License-Identifier: Apache-2.0
"""What U-Boot reads: scripts in its legacy image format, and a FIT with firmware and model.

Formats: U-Boot's ``include/image.h`` (legacy header) and the Flattened Image Tree specification.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import fdt
from construct import Bytes, Int8ub, Int32ub, Struct

from host.boards import Board, Memory
from host.errors import UsageError
from host.medium import disk
from host.medium.fat import fat_image

LEGACY = Struct(
    "magic" / Int32ub,
    "header_crc" / Int32ub,
    "time" / Int32ub,
    "size" / Int32ub,
    "load" / Int32ub,
    "entry" / Int32ub,
    "data_crc" / Int32ub,
    "os" / Int8ub,
    "arch" / Int8ub,
    "type" / Int8ub,
    "compression" / Int8ub,
    "name" / Bytes(32),
)
MAGIC, OS_LINUX, ARCH_RISCV, TYPE_SCRIPT = 0x27051956, 5, 26, 6
BOOTI_OFFSET = 0x200000
"""Where booti puts a RISC-V image, from the start of DRAM: the text offset in our header."""


def script_image(text: str, name: str) -> bytes:
    """``text`` as ``source`` and distro boot take it (boot.scr); the time is 0, so that it is always the same."""
    data = text.encode()
    body = len(data).to_bytes(4, "big") + bytes(4) + data
    fields = {
        "magic": MAGIC,
        "header_crc": 0,
        "time": 0,
        "size": len(body),
        "load": 0,
        "entry": 0,
        "data_crc": zlib.crc32(body),
        "os": OS_LINUX,
        "arch": ARCH_RISCV,
        "type": TYPE_SCRIPT,
        "compression": 0,
        "name": name.encode()[:31].ljust(32, b"\0"),
    }
    fields["header_crc"] = zlib.crc32(LEGACY.build(fields))
    return bytes(LEGACY.build(fields)) + body


def start_command(board: Board) -> str:
    """How U-Boot enters the firmware: ``booti``, which also names the hart, or ``go`` where it lies elsewhere."""
    memory = _memory(board)
    address = f"{memory.firmware.base:#x}"
    if board.entry and board.entry.mode == "s" and memory.firmware.base == memory.dram.base + BOOTI_OFFSET:
        return f"booti {address} - ${{fdtcontroladdr}}"
    return f"go {address}"


def disk_script(board: Board) -> str:
    """boot.scr of the disk: reads firmware and a slot into DRAM and starts.

    Distro boot sets ``devtype``, ``devnum``, ``distro_bootpart`` and ``prefix``; by hand, ``source`` takes defaults.
    """
    memory = _memory(board)
    return f"""\
# hartspeak for {board.title}: firmware, then the model of the chosen slot, both read by U-Boot.
test -n "$devtype" || setenv devtype mmc
test -n "$devnum" || setenv devnum 1
test -n "$distro_bootpart" || setenv distro_bootpart 1
test -n "$hsp_slot" || setenv hsp_slot a
$devtype dev $devnum
load $devtype $devnum:$distro_bootpart {memory.firmware.base:#x} ${{prefix}}firmware.bin
part start $devtype $devnum model_$hsp_slot hsp_start
part size $devtype $devnum model_$hsp_slot hsp_size
echo "hartspeak: reading slot $hsp_slot"
$devtype read {memory.image:#x} $hsp_start $hsp_size
{start_command(board)}
"""


def write_boot_disk(path: Path, board: Board, firmware: Path, image: Path | None) -> None:
    """The board's disk image: GPT, boot files with ``firmware`` (firmware.bin), ``image`` in slot a."""
    script = script_image(disk_script(board), f"hartspeak {board.name}")
    boot = fat_image({"boot.scr": script, "firmware.bin": firmware.read_bytes()}, disk.BOOT_BYTES)
    layout = disk.plan_disk(disk.slot_bytes(image.stat().st_size if image else 0))

    def chunks() -> Iterator[tuple[int, bytes]]:
        yield from disk.partition_tables(layout)
        yield from disk.partition_data(layout.parts["firmware"], "the boot partition", boot)
        if image:
            yield from disk.partition_data(layout.parts["model_a"], str(image), image)

    disk.write_disk(path, layout.size, chunks())


def tftp_script(board: Board) -> str:
    """boot.scr for a TFTP server that has firmware.bin and model.hsp beside it."""
    memory = _memory(board)
    return f"""\
# hartspeak for {board.title}: firmware and model by TFTP; serverip comes from DHCP or the environment.
test -n "$ipaddr" || dhcp
tftpboot {memory.firmware.base:#x} firmware.bin
tftpboot {memory.image:#x} model.hsp
{start_command(board)}
"""


def fit_image(board: Board, firmware: bytes, model: bytes) -> bytes:
    """A FIT: firmware as the kernel, the model as a loadable; ``bootm ADDR - ${fdtcontroladdr}`` starts it."""
    memory = _memory(board)
    tree = fdt.FDT()
    tree.header.version, tree.header.last_comp_version = 17, 16
    tree.set_property("description", f"hartspeak for {board.title}")
    tree.set_property("timestamp", 0)
    tree.set_property("#address-cells", 2)
    _add_image(tree, "firmware", "kernel", memory.firmware.base, firmware)
    tree.set_property("entry", [0, memory.firmware.base], path="/images/firmware")
    _add_image(tree, "model", "firmware", memory.image, model)
    tree.set_property("default", "chat", path="/configurations")
    tree.set_property("description", "firmware and model", path="/configurations/chat")
    tree.set_property("kernel", "firmware", path="/configurations/chat")
    tree.set_property("loadables", "model", path="/configurations/chat")
    return bytes(tree.to_dtb())


def _add_image(tree: fdt.FDT, name: str, kind: str, load: int, data: bytes) -> None:
    path = f"/images/{name}"
    values = {"description": name, "type": kind, "arch": "riscv", "os": "linux", "compression": "none"}
    for key, value in values.items():
        tree.set_property(key, value, path=path)
    tree.set_property("load", [load >> 32, load & 0xFFFFFFFF], path=path)
    tree.get_node(path).append(fdt.PropBytes("data", data=data))
    tree.set_property("algo", "sha256", path=f"{path}/hash")
    tree.get_node(f"{path}/hash").append(fdt.PropBytes("value", data=hashlib.sha256(data).digest()))


def _memory(board: Board) -> Memory:
    if board.memory is None:
        raise UsageError(f"board {board.name} runs as a process: there is nothing for U-Boot to load")
    return board.memory
