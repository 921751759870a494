# SPDX-License-Identifier: Apache-2.0
"""The selector on a medium: which of the two slots holds the model that a board boots (docs/flash.md).

Two copies of one sector; the older is written, the newer valid one counts. The C header is made from the declaration;
what changes a record on the device stands in ``firmware/flash/selector.c``, what the host writes stands here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import google_crc32c
from construct import Bytes, Const, ConstructError, Int8ul, Int32ul, Int64ul, Padding, Struct

MAGIC = b"HSPSELEC"
SECTOR_BYTES = 512
COPY_STRIDE = 4096
"""From copy to copy: each in an erase block of its own on small flash."""
COPIES = 2
SLOTS = 2
NO_SLOT = 0xFF
TRIALS = 3
"""Boots that a new model has to give its first good answer."""

Record = Struct(
    "magic" / Const(MAGIC),
    "version" / Int32ul,  # 1
    "sequence" / Int32ul,  # the higher one counts, modulo 2^32
    "active" / Int8ul,  # slot that has answered
    "trial" / Int8ul,  # slot that is to be tried, or NO_SLOT
    "tries" / Int8ul,  # boots that the trial has left
    Padding(5),
    "bytes" / Int64ul[SLOTS],  # size of each slot's image; 0: unknown or none
    "reserved" / Bytes(468),  # 0
    "crc" / Int32ul,  # CRC-32C of all before it
)
VERSION = 1


@dataclass(frozen=True)
class Selection:
    """What a record says, without what makes it a record."""

    sequence: int
    active: int
    trial: int
    tries: int
    bytes: tuple[int, int]


def build_record(selection: Selection) -> bytes:
    """One sector."""
    fields = dataclasses.asdict(selection) | {"version": VERSION, "reserved": bytes(468), "crc": 0}
    body = bytes(Record.build(fields))[:-4]
    return body + int(google_crc32c.value(body)).to_bytes(4, "little")


def parse_record(sector: bytes) -> Selection | None:
    """What a sector says; None where it is no record."""
    try:
        found = Record.parse(sector[:SECTOR_BYTES])
    except ConstructError:
        return None
    if found.crc != google_crc32c.value(sector[: SECTOR_BYTES - 4]) or found.version != VERSION:
        return None
    if found.active >= SLOTS or (found.trial >= SLOTS and found.trial != NO_SLOT):
        return None
    return Selection(found.sequence, found.active, found.trial, found.tries, (found.bytes[0], found.bytes[1]))


def newest(copies: list[bytes]) -> tuple[int, Selection | None]:
    """Index of the copy that counts and what it says; (1, None) where none does, so that copy 0 is written next."""
    best, found = 1, None
    for index, sector in enumerate(copies):
        selection = parse_record(sector)
        if selection and (found is None or 0 < (selection.sequence - found.sequence) % (1 << 32) < 1 << 31):
            best, found = index, selection
    return best, found


def first_selector(image_bytes: int) -> list[bytes]:
    """Both copies of a new medium: slot a is active and holds an image of so many bytes."""
    return [build_record(Selection(number, 0, NO_SLOT, 0, (image_bytes, 0))) for number in range(COPIES)]


@dataclass(frozen=True)
class Update:
    """Where a new image goes and the sectors to be written before and after it, as (copy, sector)."""

    slot: int
    before: tuple[int, bytes]
    after: tuple[int, bytes]


def plan_update(copies: list[bytes], image_bytes: int) -> Update:
    """An update of a medium whose selector sectors are ``copies``: the slot that is not active, then a trial of it."""
    index, current = newest(copies)
    current = current or Selection(0, 0, NO_SLOT, 0, (0, 0))
    slot = 1 - current.active
    sizes = [0, 0]
    sizes[current.active] = current.bytes[current.active]
    before = Selection((current.sequence + 1) % (1 << 32), current.active, NO_SLOT, 0, (sizes[0], sizes[1]))
    sizes[slot] = image_bytes
    after = Selection((current.sequence + 2) % (1 << 32), current.active, slot, TRIALS, (sizes[0], sizes[1]))
    return Update(slot, (1 - index, build_record(before)), (index, build_record(after)))


def plan_confirm(copies: list[bytes]) -> tuple[int, bytes] | None:
    """The sector that makes the slot on trial the active one, as (copy, sector); None where nothing is on trial."""
    index, current = newest(copies)
    if current is None or current.trial == NO_SLOT:
        return None
    confirmed = Selection((current.sequence + 1) % (1 << 32), current.trial, NO_SLOT, 0, current.bytes)
    return 1 - index, build_record(confirmed)
