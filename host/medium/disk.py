# SPDX-License-Identifier: Apache-2.0
"""The disk of a board: a GPT with the boot files, the selector and two slots for models.

The tables are made by the library gpt-image; what lies where is decided here. Nothing is held in memory whole: a disk
is a sequence of (offset, bytes) to write, the same for a file and for a card.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gpt_image.geometry import Geometry
from gpt_image.partition import Partition, PartitionEntryArray
from gpt_image.table import Header, HeaderReadError, Table

from host.errors import FitError, UsageError
from host.output import replacing

SECTOR = 512
MIB = 1 << 20
BOOT_BYTES = 16 * MIB
SELECTOR_BYTES = MIB
NAMES = ("firmware", "selector", "model_a", "model_b")
LEGACY_BOOTABLE = 1 << 2
"""GPT's attribute by which U-Boot's distro boot finds the partition with boot.scr."""
BASIC_DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
SELECTOR_TYPE = "B7F1C1C6-3A43-4C0E-9B2C-0D4E5C0A51E1"
MODEL_TYPE = "B7F1C1C6-3A43-4C0E-9B2C-0D4E5C0A51E2"
TYPES = {"firmware": BASIC_DATA, "selector": SELECTOR_TYPE, "model_a": MODEL_TYPE, "model_b": MODEL_TYPE}
NAMESPACE = uuid.UUID("6d5b1f0e-5a0c-4a6e-8a53-0f2b1c7e9d11")
"""Ids are derived from it, so that the same build gives the same bytes."""


@dataclass(frozen=True)
class Part:
    """One partition: bytes from the start of the disk."""

    offset: int
    size: int


@dataclass(frozen=True)
class Layout:
    """Where the partitions of ``NAMES`` lie on a disk of ``size`` bytes."""

    size: int
    parts: dict[str, Part]


def slot_bytes(image: int) -> int:
    """Size of a slot for an image of so many bytes: a half more, for the next model, in units of 16 MiB."""
    return -(-(image * 3 // 2) // (16 * MIB)) * 16 * MIB or 16 * MIB


def plan_disk(slot: int, size: int | None = None) -> Layout:
    """The layout with two slots of ``slot`` bytes; ``size`` is that of the medium in bytes, as small as can be if None.

    Raises FitError where the medium is too small.
    """
    parts, offset = {}, MIB
    for name, length in zip(NAMES, (BOOT_BYTES, SELECTOR_BYTES, slot, slot), strict=True):
        parts[name] = Part(offset, length)
        offset += -(-length // MIB) * MIB
    needed = offset + MIB
    if size is not None and size < needed:
        raise FitError(
            f"the medium has {size} bytes, two slots of {slot} need {needed}: {needed - size} too few; "
            "take a larger one or a smaller --slot"
        )
    return Layout((size or needed) // SECTOR * SECTOR, parts)


def partition_tables(layout: Layout) -> Iterator[tuple[int, bytes]]:
    """The protective MBR and both GPTs as (offset, bytes)."""
    geometry = Geometry(layout.size, SECTOR)
    table = Table(geometry)
    for header in (table.primary_header, table.secondary_header):
        header.disk_guid = str(uuid.uuid5(NAMESPACE, "disk"))
    for name, part in layout.parts.items():
        flags = LEGACY_BOOTABLE if name == "firmware" else 0
        guid = str(uuid.uuid5(NAMESPACE, name))
        entry = Partition(name, part.size, TYPES[name], guid, alignment=MIB // SECTOR, partition_attributes=flags)
        table.partitions.add(entry)
        if entry.first_lba_staged * SECTOR != part.offset:
            raise AssertionError(f"partition {name} does not lie at {part.offset}")
    table.update()
    yield 0, table.protective_mbr.marshal()
    yield geometry.primary_header_byte, table.primary_header.marshal()
    yield geometry.primary_array_byte, table.partitions.marshal()
    yield geometry.alternate_array_byte, table.partitions.marshal()
    yield geometry.alternate_header_byte, table.secondary_header.marshal()


def read_layout(disk: BinaryIO, size: int) -> Layout:
    """The layout of a disk of ours. Raises UsageError where it is none."""
    geometry = Geometry(size, SECTOR)
    disk.seek(geometry.primary_header_byte)
    try:
        Header.unmarshal(disk.read(geometry.header_length), geometry)
    except (HeaderReadError, struct.error, ValueError) as error:
        raise UsageError(f"this medium has no GPT ({error}); write it whole first, without --update") from None
    disk.seek(geometry.primary_array_byte)
    array, parts = disk.read(geometry.array_max_length), {}
    for index in range(PartitionEntryArray.EntryCount):
        entry = array[index * PartitionEntryArray.EntryLength :][: PartitionEntryArray.EntryLength]
        if entry[:16] == bytes(16):
            continue
        try:
            found = Partition.unmarshal(entry, SECTOR)
        except (ValueError, struct.error):
            raise UsageError("this medium's partition table is damaged; write it whole, without --update") from None
        parts[found.partition_name] = Part(found.first_lba * SECTOR, found.size)
    if missing := [name for name in NAMES if name not in parts]:
        raise UsageError(f"this medium has no partition {', '.join(missing)}: it is none of ours")
    outside = [name for name in NAMES if parts[name].size <= 0 or parts[name].offset + parts[name].size > size]
    if outside:
        raise UsageError(f"partition {', '.join(outside)} reaches beyond the medium's {size} bytes")
    return Layout(size, {name: parts[name] for name in NAMES})


def partition_data(part: Part, what: str, data: bytes | Path) -> Iterator[tuple[int, bytes]]:
    """The contents of a partition in pieces of 1 MiB. Raises FitError where they are larger than it."""
    length = data.stat().st_size if isinstance(data, Path) else len(data)
    if length > part.size:
        raise FitError(
            f"{what} has {length} bytes, its place on the medium {part.size}: {length - part.size} too many; "
            "write the medium again with a larger --slot"
        )
    if isinstance(data, bytes):
        yield from ((part.offset + at, data[at : at + MIB]) for at in range(0, length, MIB))
        return
    with data.open("rb") as file:
        at = part.offset
        while piece := file.read(MIB):
            yield at, piece
            at += len(piece)


def write_disk(path: Path, size: int, chunks: Iterable[tuple[int, bytes]]) -> None:
    """A disk image as a sparse file, in place only when it is whole."""
    with replacing(path) as part, part.open("wb") as file:
        file.truncate(size)
        for offset, piece in chunks:
            file.seek(offset)
            file.write(piece)
