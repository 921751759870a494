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
from host.medium import disk, selector
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
WORK_OFFSET = 1 << 20
"""From the applet to its work memory: the selector's sectors, a word, then text (firmware/flash/applet.c)."""
SECTORS = selector.COPIES * selector.COPY_STRIDE // 512
TEXT_OFFSET = SECTORS * 512 + 256
TEXT_BYTES = 256
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
    """boot.scr of the disk: has the selector choose a slot, reads firmware and model into DRAM and starts.

    Distro boot sets ``devtype``, ``devnum``, ``distro_bootpart`` and ``prefix``; by hand, ``source`` takes defaults.
    What is read is checked before it is started; a slot that is not whole is passed over.
    """
    memory = _memory(board)
    applet, work = memory.arena.base, memory.arena.base + WORK_OFFSET
    limit, slots = board.image_limit, "$hsp_start_a $hsp_size_a $hsp_start_b $hsp_size_b"
    return f"""\
# hartspeak for {board.title}: firmware, then the model of the slot that the selector chooses.
test -n "$devtype" || setenv devtype mmc
test -n "$devnum" || setenv devnum 1
test -n "$distro_bootpart" || setenv distro_bootpart 1
$devtype dev $devnum
load $devtype $devnum:$distro_bootpart {memory.firmware.base:#x} ${{prefix}}firmware.bin
load $devtype $devnum:$distro_bootpart {applet:#x} ${{prefix}}selector.bin
part start $devtype $devnum selector hsp_selector
part start $devtype $devnum model_a hsp_start_a
part size $devtype $devnum model_a hsp_size_a
part start $devtype $devnum model_b hsp_start_b
part size $devtype $devnum model_b hsp_size_b
$devtype read {work:#x} $hsp_selector {SECTORS:x}
mw.l {work + SECTORS * 512:#x} 0
setenv hsp_good 0
for hsp_try in 1 2 3; do
  if test $hsp_good = 0; then
    go {applet:#x} choose {work:#x}
    env import -t {work + TEXT_OFFSET:#x} {TEXT_BYTES:x}
    if test -n "$hsp_write"; then
      setexpr hsp_write $hsp_selector + $hsp_write
      $devtype write $hsp_from $hsp_write 1
    fi
    if test $hsp_slot != none; then
      part start $devtype $devnum model_$hsp_slot hsp_start
      part size $devtype $devnum model_$hsp_slot hsp_size
      test $hsp_blocks = 0 || setenv hsp_size $hsp_blocks
      echo "hartspeak: reading slot $hsp_slot"
      $devtype read {memory.image:#x} $hsp_start $hsp_size
      go {applet:#x} check {work:#x} {memory.image:#x} {limit:#x} $hsp_slot $hsp_selector {slots}
      env import -t {work + TEXT_OFFSET:#x} {TEXT_BYTES:x}
      test $hsp_good = 1 || echo "hartspeak: slot $hsp_slot holds no whole image"
    fi
  fi
done
{start_command(board)}
"""


def boot_partition(board: Board, build: Path) -> bytes:
    """The FAT with firmware.bin and selector.bin from the directory ``build``, and boot.scr."""
    files = {name: (build / name).read_bytes() for name in ("firmware.bin", "selector.bin")}
    files["boot.scr"] = script_image(disk_script(board), f"hartspeak {board.name}")
    return fat_image(files, disk.BOOT_BYTES)


def disk_chunks(board: Board, layout: disk.Layout, build: Path, image: Path | None) -> Iterator[tuple[int, bytes]]:
    """A whole disk as (offset, bytes): GPT, boot files, a new selector, ``image`` in slot a."""
    size = image.stat().st_size if image else 0
    yield from disk.partition_tables(layout)
    yield from disk.partition_data(layout.parts["firmware"], "the boot partition", boot_partition(board, build))
    for copy, sector in enumerate(selector.first_selector(size)):
        yield layout.parts["selector"].offset + copy * selector.COPY_STRIDE, sector
    if image:
        yield from disk.partition_data(layout.parts["model_a"], str(image), image)


def write_boot_disk(path: Path, board: Board, build: Path, image: Path | None) -> None:
    """The board's disk as a file, as small as it can be."""
    layout = disk.plan_disk(disk.slot_bytes(image.stat().st_size if image else 0))
    disk.write_disk(path, layout.size, disk_chunks(board, layout, build, image))


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
