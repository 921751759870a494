# SPDX-License-Identifier: Apache-2.0
"""Getting a model onto a board's medium: a disk image, a card in a reader, or U-Boot's console.

An update goes to the slot that is not active, between two writes of the selector, so that power may fail at any moment
(docs/flash.md). A first writing makes the whole disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from host.boards import Board
from host.errors import FitError, TargetError, UsageError
from host.medium import disk, selector
from host.medium.console import UBoot
from host.medium.device import Progress, write_chunks
from host.medium.uboot import WORK_OFFSET, disk_chunks
from host.schema.wire.constants import MAX_ENCODED
from host.schema.wire.messages import MAX_DATA_BYTES

LINE_BYTES_S = 7900
"""Bytes a second by XMODEM-1K at 115200, as U-Boot's own documentation measured for YMODEM."""
SCANS = {"virtio": "virtio scan", "nvme": "nvme scan", "usb": "usb start", "scsi": "scsi scan"}


def minutes_by_console(size: int, baud: int) -> float:
    """How long so many bytes take through U-Boot's console."""
    return size / (LINE_BYTES_S * baud / 115200) / 60


def minutes_by_link(size: int, baud: int) -> float:
    """How long they take in frames of our own link, ten bits a byte."""
    return float(size / MAX_DATA_BYTES * (MAX_ENCODED + 2) * 10 / baud / 60)


def write_disk_file(path: Path, board: Board, build: Path, image: Path, slot: int | None, progress: Progress) -> int:
    """A whole disk image. Returns its size in bytes. Raises FitError, HostError."""
    layout = disk.plan_disk(slot or disk.slot_bytes(image.stat().st_size))
    total = 0

    def counted() -> Iterable[tuple[int, bytes]]:
        nonlocal total
        for chunk in disk_chunks(board, layout, build, image):
            total += len(chunk[1])
            progress("writing", total)
            yield chunk

    disk.write_disk(path, layout.size, counted())
    return layout.size


def write_whole(path: Path, size: int, board: Board, build: Path, image: Path, slot: int | None, say: Progress) -> int:
    """The whole of a card of ``size`` bytes. Returns the bytes written. Raises FitError, HostError."""
    layout = disk.plan_disk(slot or disk.slot_bytes(image.stat().st_size), size)
    return write_chunks(path, disk_chunks(board, layout, build, image), say)


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _open_ours(path: Path) -> tuple[disk.Layout, list[bytes]]:
    try:
        with path.open("rb") as file:
            layout, copies = disk.read_layout(file, _size(file)), []
            for copy in range(selector.COPIES):
                file.seek(layout.parts["selector"].offset + copy * selector.COPY_STRIDE)
                copies.append(file.read(selector.SECTOR_BYTES))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    return layout, copies


def _place(layout: disk.Layout, copy: int) -> int:
    return layout.parts["selector"].offset + copy * selector.COPY_STRIDE


def is_ours(path: Path) -> bool:
    """Whether a file is a disk of ours, whatever is in its slots, or empty."""
    try:
        return path.stat().st_size == 0 or bool(_open_ours(path))
    except (OSError, UsageError):
        return False


def plan_lines(size: int | None, image: Path, slot: int | None) -> list[str]:
    """What writing a whole medium of ``size`` bytes (None: a file) would put where. Raises FitError."""
    layout = disk.plan_disk(slot or disk.slot_bytes(image.stat().st_size), size)
    next(disk.partition_data(layout.parts["model_a"], str(image), image))
    lines = [f"a disk of {layout.size >> 20} MiB would be written, {image.name} in slot a"]
    return lines + [
        f"  {name:<10}{part.size >> 20:>6} MiB at {part.offset >> 20}" for name, part in layout.parts.items()
    ]


def update_lines(path: Path, image: Path) -> list[str]:
    """What an update would put where. Raises UsageError where it is no disk of ours, FitError."""
    layout, copies = _open_ours(path)
    letter = "ab"[selector.plan_update(copies, image.stat().st_size).slot]
    next(disk.partition_data(layout.parts[f"model_{letter}"], str(image), image))
    return [f"{image.name} would go to slot {letter}, on trial; the other slot stays"]


def update_medium(path: Path, image: Path, progress: Progress) -> str:
    """Put ``image`` into the slot of a disk of ours that is not active, on trial. Returns the slot's letter.

    Raises UsageError where it is no disk of ours, FitError, HostError.
    """
    layout, copies = _open_ours(path)
    plan = selector.plan_update(copies, image.stat().st_size)
    letter = "ab"[plan.slot]
    data = disk.partition_data(layout.parts[f"model_{letter}"], str(image), image)
    first = next(data)  # that it fits is known before anything is written
    write_chunks(path, [(_place(layout, plan.before[0]), plan.before[1])])
    write_chunks(path, _with(first, data), progress)
    write_chunks(path, [(_place(layout, plan.after[0]), plan.after[1])])
    return letter


def _with(first: tuple[int, bytes], rest: Iterable[tuple[int, bytes]]) -> Iterable[tuple[int, bytes]]:
    yield first
    yield from rest


class BoardDisk:
    """A disk of ours as U-Boot sees it, ``device`` being such as ``mmc 1``. Raises TargetError where there is none."""

    def __init__(self, uboot: UBoot, board: Board, device: str) -> None:
        if not re.fullmatch(r"[a-z]+ [0-9]+", device):
            raise UsageError(f"--device {device!r} should be U-Boot's name of the medium, such as 'mmc 1' or 'nvme 0'")
        assert board.memory
        self._uboot, self._device, self._kind = uboot, device, device.split()[0]
        self._work = board.memory.arena.base + WORK_OFFSET
        self._image, self._limit = board.memory.image, board.image_limit
        if self._kind in SCANS:
            uboot.run(SCANS[self._kind], 30.0)
        uboot.run(f"{self._kind} dev {device.split()[1]}", 30.0)
        self._selector = self._number(f"part start {device} selector")

    def _number(self, command: str) -> int:
        text = self._uboot.run(f"{command} hsp_number && printenv hsp_number")
        found = re.search(r"hsp_number=(?:0x)?([0-9a-f]+)", text)
        if not found:
            raise TargetError(f"U-Boot's {command!r} gave no number: {text}")
        return int(found[1], 16)

    def copies(self) -> list[bytes]:
        """The selector's sectors."""
        sectors = selector.COPIES * selector.COPY_STRIDE // disk.SECTOR
        self._uboot.run(f"{self._kind} read {self._work:#x} {self._selector:x} {sectors:x}", 30.0)
        return [
            self._uboot.read_memory(self._work + copy * selector.COPY_STRIDE, selector.SECTOR_BYTES)
            for copy in range(selector.COPIES)
        ]

    def put_copy(self, copy: int, sector: bytes) -> None:
        """Write one of them and read it back."""
        self._uboot.send(sector, self._work)
        block = self._selector + copy * selector.COPY_STRIDE // disk.SECTOR
        self._uboot.run(f"{self._kind} write {self._work:#x} {block:x} 1", 30.0)
        if self.copies()[copy] != sector:
            raise TargetError(f"the selector's sector on {self._device} is read back otherwise; the medium is broken")

    def update(self, image: bytes, progress: Progress) -> str:
        """Put an image into the slot that is not active, on trial. Returns its letter. Raises FitError, TargetError."""
        plan = selector.plan_update(self.copies(), len(image))
        letter, blocks = "ab"[plan.slot], -(-len(image) // disk.SECTOR)
        start = self._number(f"part start {self._device} model_{letter}")
        room = self._number(f"part size {self._device} model_{letter}")
        if blocks > room or len(image) > (self._limit or 0):
            raise FitError(f"the image has {len(image)} bytes, slot {letter} on {self._device} {room * disk.SECTOR}")
        self._uboot.send(image, self._image, lambda done: progress("sending", done))
        self.put_copy(*plan.before)
        self._uboot.run(f"{self._kind} write {self._image:#x} {start:x} {blocks:x}", 600.0)
        self._uboot.run(f"mw.b {self._image:#x} 0 {len(image):x}", 60.0)
        self._uboot.run(f"{self._kind} read {self._image:#x} {start:x} {blocks:x}", 600.0)
        self._uboot.check(image, self._image)
        self.put_copy(*plan.after)
        return letter

    def confirm(self) -> bool:
        """Make the slot on trial the active one. Returns whether one was."""
        plan = selector.plan_confirm(self.copies())
        if plan:
            self.put_copy(*plan)
        return plan is not None
