# SPDX-License-Identifier: Apache-2.0
"""Cuts the power at every write and erase of an update, torn too and twice: ``python -m tools.powercut``.

Selector and update are the firmware's own modules, compiled for this machine. The medium is a model: an erase and a
write go through it byte by byte and stop anywhere, and what was written before them without a sync may be lost. After
every cut the board boots again; it must load a whole image, the old or the new one.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from host.errors import HostError, TargetError
from host.medium.selector import COPIES, COPY_STRIDE, NO_SLOT, SECTOR_BYTES, TRIALS, first_selector, plan_update
from tools.scons.toolchain import zig_path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "tools/powercut_board.c",
    "firmware/flash/selector.c",
    "firmware/flash/update.c",
    "firmware/common/crc32c.c",
)
COPY_SECTORS = COPY_STRIDE // SECTOR_BYTES
SLOT_SECTORS = 3
SIZE = SLOT_SECTORS * SECTOR_BYTES
PIECE = 700
"""Bytes that an update by the device writes at once; sectors are written as pieces leave them."""
ERASED = bytes([0xFF]) * SECTOR_BYTES
OLD, NEW = b"o" * SIZE, b"n" * SIZE
"""Images; whole is what consists of one letter."""
MAX_BOOTS = TRIALS + 3

READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint8))
SYNC = ctypes.CFUNCTYPE(ctypes.c_int)


class PowerCut(Exception):
    """The power is gone."""


@dataclass(frozen=True)
class Cut:
    """Where the power fails: at which write or erase, after what share of it, with what was not synced lost or not."""

    write: int
    tear: float
    lost: bool


@dataclass
class Medium:
    """Sectors by number: two copies of the selector and two slots."""

    sectors: dict[int, bytes] = field(default_factory=dict)
    cut: Cut | None = None
    writes: int = 0
    dead: bool = False
    unsynced: dict[int, bytes] = field(default_factory=dict)
    """What was in the sectors that were written since the last sync."""

    @staticmethod
    def new() -> Medium:
        """A medium with the old image in slot a."""
        medium = Medium({copy * COPY_SECTORS: sector for copy, sector in enumerate(first_selector(SIZE))})
        for i in range(SLOT_SECTORS):
            medium.sectors[slot_sector(0) + i] = OLD[:SECTOR_BYTES]
            medium.sectors[slot_sector(1) + i] = ERASED
        return medium

    def copy(self, cut: Cut | None) -> Medium:
        """The same contents, with the power on again."""
        return Medium(dict(self.sectors), cut)

    def slot(self, slot: int) -> bytes:
        """What a slot holds."""
        return b"".join(self.sectors[slot_sector(slot) + i] for i in range(SLOT_SECTORS))

    def copies(self) -> list[bytes]:
        """The selector's sectors."""
        return [self.sectors[copy * COPY_SECTORS] for copy in range(COPIES)]

    def put(self, sector: int, new: bytes) -> None:
        """Erase a sector, then write it; each is cut where ``cut`` says."""
        before = self.sectors[sector]
        for target in (ERASED, new):
            if self.dead:
                return
            old = self.sectors[sector]
            if self.cut and self.writes == self.cut.write:
                self.dead = True
                done = int(self.cut.tear * SECTOR_BYTES)
                if self.cut.lost:
                    self.sectors.update(self.unsynced)
                self.sectors[sector] = target[:done] + old[done:]
                return
            self.writes += 1
            self.sectors[sector] = target
        self.unsynced.setdefault(sector, before)

    def sync(self) -> None:
        """All that was written stays."""
        if not self.dead:
            self.unsynced.clear()


def slot_sector(slot: int) -> int:
    """The first sector of a slot."""
    return COPIES * COPY_SECTORS + slot * SLOT_SECTORS


class Board:
    """A board's life with a medium: boot loader, firmware, and an update by the host in a card reader."""

    def __init__(self, library: ctypes.CDLL, medium: Medium) -> None:
        self.lib, self.medium = library, medium
        self._calls = READ(self._read), READ(self._write), SYNC(self._sync)
        self.lib.board_insert(*self._calls, ctypes.c_uint64(SLOT_SECTORS))

    def _read(self, sector: int, to: ctypes._Pointer[ctypes.c_uint8]) -> int:
        ctypes.memmove(to, self.medium.sectors[sector], SECTOR_BYTES)
        return 0

    def _write(self, sector: int, data: ctypes._Pointer[ctypes.c_uint8]) -> int:
        self.medium.put(sector, ctypes.string_at(data, SECTOR_BYTES))
        return -1 if self.medium.dead else 0

    def _sync(self) -> int:
        self.medium.sync()
        return -1 if self.medium.dead else 0

    def _check(self, error: int) -> None:
        if self.medium.dead:
            raise PowerCut
        if error:
            raise AssertionError(f"error {error} of a medium that works")

    def boot(self) -> int:
        """Choose until an image is whole, and run it. Returns its slot; AssertionError where there is none."""
        self._check(self.lib.board_start())
        bad = 0
        while (slot := int(self.lib.board_choose(bad))) >= 0:
            self._check(0)
            if self.medium.slot(slot) in (OLD, NEW):
                self._check(self.lib.board_run(slot))
                return slot
            bad |= 1 << slot
        self._check(0)
        raise AssertionError(f"nothing boots: {self.medium}")

    def answer(self) -> None:
        """The first good answer of what runs."""
        self._check(self.lib.board_confirm())

    def update(self) -> None:
        """An update by the firmware: what differs is written, and all is read back."""
        self.boot()
        there = ctypes.create_string_buffer(SIZE)
        for at in range(0, SIZE, PIECE):
            size = min(PIECE, SIZE - at)
            self._check(self.lib.board_read(ctypes.c_uint64(at), there, size))
            if there.raw[:size] != NEW[:size]:
                self._check(self.lib.board_write(ctypes.c_uint64(at), NEW, size))
        self._check(self.lib.board_read(ctypes.c_uint64(0), there, SIZE))
        if there.raw != NEW:
            raise AssertionError(f"read back otherwise: {self.medium}")
        self._check(self.lib.board_finish(ctypes.c_uint64(SIZE)))

    def update_by_host(self) -> None:
        """An update by ``host flash --medium``, which syncs after each of its three steps."""
        plan = plan_update(self.medium.copies(), SIZE)
        self._put(plan.before[0] * COPY_SECTORS, plan.before[1])
        self._put(slot_sector(plan.slot), NEW)
        self._put(plan.after[0] * COPY_SECTORS, plan.after[1])

    def _put(self, sector: int, data: bytes) -> None:
        for at in range(0, len(data), SECTOR_BYTES):
            self.medium.put(sector + at // SECTOR_BYTES, data[at : at + SECTOR_BYTES])
            self._check(0)
        self.medium.sync()

    def live(self, answers: bool) -> None:
        """Boot until nothing is on trial; the new model answers or never does."""
        for _ in range(MAX_BOOTS):
            slot = self.boot()
            if answers or self.medium.slot(slot) == OLD:
                self.answer()
            self._check(self.lib.board_start())
            if self.lib.board_trial() == NO_SLOT:
                return
        raise AssertionError(f"a trial never ends: {self.medium}")


def build_library(folder: Path) -> ctypes.CDLL:
    """The board for this machine. Raises TargetError with what the compiler said."""
    headers = [sys.executable, str(ROOT / "tools/gen_headers.py"), "selector", str(folder / "gen/selector.h")]
    subprocess.run(headers, check=True)
    library = folder / "board.so"
    command = [zig_path(), "cc", "-std=c11", "-O2", "-shared", "-fPIC", "-fno-sanitize=undefined", f"-I{folder}"]
    command += [f"-I{ROOT / 'firmware'}", "-o", str(library), *(str(ROOT / name) for name in SOURCES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TargetError(f"the board could not be compiled:\n{done.stderr}")
    return ctypes.CDLL(str(library))


Life = Callable[[Board], None]


def lives() -> dict[str, Life]:
    """What happens to a board, each until nothing is left to do."""

    def updated(answers: bool, by_host: bool) -> Life:
        def life(board: Board) -> None:
            if by_host:
                board.update_by_host()
            else:
                board.update()
            board.live(answers)

        return life

    return {
        f"{who} updates, the new model {what}": updated(what == "answers", who == "host")
        for who in ("device", "host")
        for what in ("answers", "fails")
    }


def cuts(library: ctypes.CDLL, start: Medium, life: Life, tears: list[float]) -> Iterator[Medium]:
    """What is on the medium after each cut of a life."""
    whole = start.copy(None)
    life(Board(library, whole))
    for write in range(whole.writes):
        for cut in (Cut(write, tear, lost) for tear in tears for lost in (False, True)):
            medium = start.copy(cut)
            try:
                life(Board(library, medium))
            except PowerCut:
                if cut.lost and not medium.unsynced:
                    continue
                yield medium
            else:
                raise AssertionError(f"the power was not cut at write {write}")


def check_end(library: ctypes.CDLL, medium: Medium, answers: bool) -> bytes:
    """Boots to the end; returns the image that is active then."""
    rested = medium.copy(None)
    board = Board(library, rested)
    board.live(answers)
    return rested.slot(board.boot())


def explore(library: ctypes.CDLL, tears: list[float]) -> dict[str, int]:
    """Every single and double cut of every life. Returns the number of states by life. AssertionError: one is lost."""
    found = {}
    for name, life in lives().items():
        answers, count = name.endswith("answers"), 0

        def boots(board: Board, answers: bool = answers) -> None:
            board.live(answers)

        finished = Medium.new()
        life(Board(library, finished))
        if (check_end(library, finished, answers) == NEW) != answers:
            raise AssertionError(f"{name}: ended wrongly without any cut")
        for first in cuts(library, Medium.new(), life, tears):
            for then in (boots, life):
                for second in cuts(library, first.copy(None), then, tears):
                    check_end(library, second, answers)
                    count += 1
            check_end(library, first, answers)
            count += 1
        found[name] = count
    return found


def main() -> int:
    """Print the number of states, or the one in which nothing boots."""
    parser = argparse.ArgumentParser(description="Cut the power at every write of an update.")
    parser.add_argument("--tears", type=int, default=8, help="places at which each erase and write is cut")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = explore(build_library(Path(folder)), [i / options.tears for i in range(options.tears + 1)])
    except HostError as error:
        sys.stderr.write(f"powercut: {error}\n")
        return error.exit_code
    if options.json:
        print(json.dumps(found))
        return 0
    for name, count in found.items():
        print(f"{count:>8} states: {name}")
    print(f"{sum(found.values()):>8} states, and every one boots the old or the new image")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
