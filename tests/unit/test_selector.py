# SPDX-License-Identifier: Apache-2.0
"""The firmware's selector (firmware/flash/selector.c) on a medium in memory: what it chooses, and what it writes."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import google_crc32c
import pytest

from host.medium.selector import COPIES, NO_SLOT, SECTOR_BYTES, SLOTS, TRIALS, Selection, build_record, newest
from tools import powercut

READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)


class CMedium(ctypes.Structure):
    """struct selector_medium."""

    _fields_ = (("context", ctypes.c_void_p), ("read", READ), ("write", READ))


class CSelector(ctypes.Structure):
    """struct selector."""

    _fields_ = (
        ("medium", ctypes.c_void_p),
        ("copy", ctypes.c_uint32),
        ("sequence", ctypes.c_uint32),
        ("active", ctypes.c_uint8),
        ("trial", ctypes.c_uint8),
        ("tries", ctypes.c_uint8),
        ("bytes", ctypes.c_uint64 * SLOTS),
    )


@dataclass
class Medium:
    """Two sectors. ``error``: what every write fails with."""

    copies: list[bytes]
    error: int = 0
    written: list[int] = field(default_factory=list)
    unreadable: tuple[int, ...] = ()

    def read(self, _context: object, copy: int, to: int) -> int:
        if copy in self.unreadable:
            return -5
        ctypes.memmove(to, self.copies[copy], SECTOR_BYTES)
        return 0

    def write(self, _context: object, copy: int, data: int) -> int:
        if not self.error:
            self.copies[copy] = ctypes.string_at(data, SECTOR_BYTES)
            self.written.append(copy)
        return self.error

    @property
    def now(self) -> Selection:
        found = newest(self.copies)[1]
        assert found
        return found


class Selector:
    """The firmware's, opened on a medium."""

    def __init__(self, library: ctypes.CDLL, medium: Medium) -> None:
        self.lib, self.medium = library, medium
        self._calls = CMedium(None, READ(medium.read), READ(medium.write))
        self.state = CSelector()
        self.lib.selector_spare.restype = ctypes.c_uint32
        self.error = int(self.lib.selector_open(ctypes.byref(self.state), ctypes.byref(self._calls)))

    def __getattr__(self, name: str) -> Callable[..., int]:
        call = getattr(self.lib, f"selector_{name}")
        return lambda *numbers: int(call(ctypes.byref(self.state), *numbers))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return powercut.build_library(tmp_path_factory.mktemp("selector"))


def record(sequence: int = 7, active: int = 0, trial: int = NO_SLOT, tries: int = 0) -> bytes:
    return build_record(Selection(sequence, active, trial, tries, (11, 22)))


def medium(active: int = 0, trial: int = NO_SLOT, tries: int = 0) -> Medium:
    return Medium([record(6, 1 - active), record(7, active, trial, tries)])


def test_host_and_firmware_agree_which_record_counts(library: ctypes.CDLL) -> None:
    rng, seen = random.Random(1), set()
    for _ in range(500):
        start = rng.choice((0, 5, 0x7FFFFFFF, 0xFFFFFFFF))
        copies = [
            record((start + step) % (1 << 32), active, rng.choice((0, 1, NO_SLOT)), rng.randrange(4))
            for active, step in enumerate(rng.sample(range(3), COPIES))
        ]
        if rng.random() < 0.3:
            broken = rng.randrange(COPIES)
            at = rng.choice((0, 8, 12, 16, 17, 300, SECTOR_BYTES - 1))
            copies[broken] = copies[broken][:at] + bytes([copies[broken][at] ^ 1]) + copies[broken][at + 1 :]
        state = Selector(library, Medium(list(copies))).state
        copy, wanted = newest(copies)
        assert wanted
        assert (state.copy, state.sequence, state.active) == (copy, wanted.sequence, wanted.active)
        assert (state.trial, state.tries, tuple(state.bytes)) == (wanted.trial, wanted.tries, wanted.bytes)
        seen.add((start, copy))
    assert len(seen) == 8


@pytest.mark.parametrize(("offset", "value"), [(8, 2), (16, SLOTS), (17, SLOTS)])
def test_a_record_of_another_kind_does_not_count(library: ctypes.CDLL, offset: int, value: int) -> None:
    """Version, active slot and trial, with a checksum that is right."""
    body = bytearray(record(9, 1)[:-4])
    body[offset] = value
    copies = [record(1, 0), bytes(body) + int(google_crc32c.value(bytes(body))).to_bytes(4, "little")]
    assert newest(copies)[0] == 0
    assert Selector(library, Medium(copies)).state.sequence == 1


def test_a_medium_without_a_record_begins_with_slot_0_and_copy_0(library: ctypes.CDLL) -> None:
    empty = Medium([bytes(SECTOR_BYTES)] * COPIES)
    selector = Selector(library, empty)
    assert (selector.error, selector.state.active, selector.state.trial) == (0, 0, NO_SLOT)
    assert selector.finish(1, 33) == 0
    assert empty.written == [0]
    assert (empty.now.trial, empty.now.tries, empty.now.bytes) == (1, TRIALS, (0, 33))


def test_one_copy_that_can_be_read_is_enough(library: ctypes.CDLL) -> None:
    half = medium(active=1)
    half.unreadable = (0,)
    assert (Selector(library, half).error, Selector(library, half).state.active) == (0, 1)
    half.unreadable = (0, 1)
    assert Selector(library, half).error == -5


def test_a_trial_has_its_boots_and_no_more(library: ctypes.CDLL) -> None:
    there = medium(active=0, trial=1, tries=TRIALS)
    for left in reversed(range(TRIALS)):
        assert Selector(library, there).choose(0) == 1
        assert (there.now.trial, there.now.tries) == (1, left)
    assert Selector(library, there).choose(0) == 0
    assert (there.now.active, there.now.trial) == (0, NO_SLOT)
    written = len(there.written)
    assert Selector(library, there).choose(0) == 0
    assert len(there.written) == written


def test_a_trial_that_is_bad_is_given_up_on_the_medium(library: ctypes.CDLL) -> None:
    there = medium(active=0, trial=1, tries=TRIALS)
    assert Selector(library, there).choose(0b10) == 0
    assert (there.now.active, there.now.trial, there.now.tries) == (0, NO_SLOT, 0)


@pytest.mark.parametrize(("active", "bad", "chosen"), [(0, 0b01, 1), (1, 0b10, 0), (1, 0b01, 1), (0, 0b11, -1)])
def test_a_bad_slot_is_passed_over_and_nothing_written(
    library: ctypes.CDLL, active: int, bad: int, chosen: int
) -> None:
    there = medium(active)
    assert Selector(library, there).choose(bad) == chosen
    assert there.written == []


def test_a_medium_that_cannot_be_written_gives_no_trial(library: ctypes.CDLL) -> None:
    there = medium(active=0, trial=1, tries=TRIALS)
    there.error = -3
    selector = Selector(library, there)
    assert selector.choose(0) == 0
    assert selector.state.tries == TRIALS
    assert selector.begin(1) == -3


@pytest.mark.parametrize("slot", [0, 2, NO_SLOT])
def test_only_the_trial_is_confirmed(library: ctypes.CDLL, slot: int) -> None:
    there = medium(active=0, trial=1, tries=2)
    selector = Selector(library, there)
    assert selector.confirm(slot) == 0
    assert there.written == []
    assert selector.confirm(1) == 0
    assert (there.now.active, there.now.trial, there.now.tries) == (1, NO_SLOT, 0)
    nothing = medium(active=0)
    assert Selector(library, nothing).confirm(NO_SLOT) == 0
    assert nothing.written == []


@pytest.mark.parametrize(
    ("active", "trial", "running", "spare"),
    [(0, NO_SLOT, 0, 1), (1, NO_SLOT, 1, 0), (0, NO_SLOT, 1, 0), (0, 1, 1, 1), (0, 1, 0, 1), (1, NO_SLOT, NO_SLOT, 0)],
)
def test_the_spare_slot_is_never_the_one_that_is_needed(
    library: ctypes.CDLL, active: int, trial: int, running: int, spare: int
) -> None:
    assert Selector(library, medium(active, trial, 2)).spare(running) == spare


def test_an_update_that_begins_forgets_what_the_slot_held(library: ctypes.CDLL) -> None:
    there = medium(active=0, trial=1, tries=2)
    assert Selector(library, there).begin(1) == 0
    assert (there.now.active, there.now.trial, there.now.bytes) == (0, NO_SLOT, (11, 0))


def test_an_update_writes_the_selector_twice(library: ctypes.CDLL) -> None:
    """Where it begins and where it ends, however many writes it has."""
    disk = powercut.Medium.new()
    board, puts = powercut.Board(library, disk), list[int]()
    put = disk.put

    def count(sector: int, new: bytes) -> None:
        puts.append(sector)
        put(sector, new)

    disk.put = count  # type: ignore[method-assign]
    board.update()
    assert sum(sector < COPIES * powercut.COPY_SECTORS for sector in puts) == 2
