# SPDX-License-Identifier: Apache-2.0
"""Cuts the power at every write and erase of an update, torn too and twice: ``python -m tools.powercut``.

The selector is the firmware's own module, compiled for this machine. The medium is a model: an erase and a write go
through it byte by byte and stop anywhere. After every cut the board boots again; it must load a whole image, the old or
the new one.
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
from host.medium.selector import SECTOR_BYTES, TRIALS, first_selector, plan_update
from tools.scons.toolchain import zig_path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("firmware/flash/selector.c", "firmware/link/crc32c.c")
IMAGE_CHUNKS = 4
ERASED = 0xFF
OLD, NEW = b"o" * IMAGE_CHUNKS, b"n" * IMAGE_CHUNKS
"""Images, a byte for each chunk that is written; whole is what consists of one letter."""
MAX_BOOTS = TRIALS + 3

TRANSFER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint8))


class _Medium(ctypes.Structure):
    _fields_ = (("context", ctypes.c_void_p), ("read", TRANSFER), ("write", TRANSFER))


class _Selector(ctypes.Structure):
    _fields_ = (
        ("medium", ctypes.c_void_p),
        ("copy", ctypes.c_uint32),
        ("sequence", ctypes.c_uint32),
        ("active", ctypes.c_uint8),
        ("trial", ctypes.c_uint8),
        ("tries", ctypes.c_uint8),
        ("bytes", ctypes.c_uint64 * 2),
    )


class PowerCut(Exception):
    """The power is gone."""


@dataclass
class Medium:
    """Two copies of the selector and two slots. ``cut``: at which write, and after how much of it, the power fails."""

    copies: list[bytes] = field(default_factory=lambda: first_selector(IMAGE_CHUNKS))
    slots: list[bytes] = field(default_factory=lambda: [OLD, bytes([ERASED]) * IMAGE_CHUNKS])
    cut: tuple[int, float] | None = None
    writes: int = 0
    dead: bool = False

    def copy(self, cut: tuple[int, float] | None) -> Medium:
        """The same contents, with the power on again."""
        return Medium(list(self.copies), list(self.slots), cut)

    def change(self, old: bytes, new: bytes) -> bytes:
        """What is on the medium after ``new`` was put over ``old``: erase, then write, each cut where ``cut`` says."""
        for target in (bytes([ERASED]) * len(old), new):
            if self.dead:
                return old
            if self.cut and self.writes == self.cut[0]:
                self.dead = True
                done = int(self.cut[1] * len(old))
                return target[:done] + old[done:]
            self.writes += 1
            old = target
        return old


class Board:
    """A board's life with a medium: the selector's calls, and what a boot does with them."""

    def __init__(self, library: ctypes.CDLL, medium: Medium) -> None:
        self.lib, self.medium = library, medium
        self.state = _Selector()
        self._calls = _Medium(None, TRANSFER(self._read), TRANSFER(self._write))

    def _read(self, _context: int, copy: int, sector: ctypes._Pointer[ctypes.c_uint8]) -> int:
        ctypes.memmove(sector, self.medium.copies[copy], SECTOR_BYTES)
        return 0

    def _write(self, _context: int, copy: int, sector: ctypes._Pointer[ctypes.c_uint8]) -> int:
        self.medium.copies[copy] = self.medium.change(self.medium.copies[copy], ctypes.string_at(sector, SECTOR_BYTES))
        return -1 if self.medium.dead else 0

    def _check_power(self) -> None:
        if self.medium.dead:
            raise PowerCut

    def open(self) -> None:
        """selector_open, as every boot begins."""
        if self.lib.selector_open(ctypes.byref(self.state), ctypes.byref(self._calls)):
            raise AssertionError("a readable medium was not opened")

    def boot(self) -> int:
        """Choose until an image is whole. Returns its slot; AssertionError where there is none. Raises PowerCut."""
        self.open()
        bad = 0
        while (slot := self.lib.selector_choose(ctypes.byref(self.state), bad)) >= 0:
            self._check_power()
            if self.medium.slots[slot] in (OLD, NEW):
                return int(slot)
            bad |= 1 << slot
        self._check_power()
        raise AssertionError(f"nothing boots: {self.medium}")

    def answer(self, slot: int) -> None:
        """The first good answer."""
        self.lib.selector_confirm(ctypes.byref(self.state), slot)
        self._check_power()

    def put(self, slot: int, image: bytes) -> None:
        """An image, chunk by chunk."""
        for chunk in range(IMAGE_CHUNKS):
            place = slice(chunk, chunk + 1)
            content = bytearray(self.medium.slots[slot])
            content[place] = self.medium.change(bytes(content[place]), image[place])
            self.medium.slots[slot] = bytes(content)
            self._check_power()

    def update(self) -> None:
        """An update by the device."""
        self.open()
        slot = self.lib.selector_begin(ctypes.byref(self.state))
        self._check_power()
        self.put(slot, NEW)
        self.lib.selector_finish(ctypes.byref(self.state), slot, ctypes.c_uint64(IMAGE_CHUNKS))
        self._check_power()

    def update_by_host(self) -> None:
        """An update by ``host flash``, in a card reader."""
        plan = plan_update(self.medium.copies, IMAGE_CHUNKS)
        self._put_sector(*plan.before)
        self.put(plan.slot, NEW)
        self._put_sector(*plan.after)

    def _put_sector(self, copy: int, sector: bytes) -> None:
        self.medium.copies[copy] = self.medium.change(self.medium.copies[copy], sector)
        self._check_power()

    def live(self, answers: bool) -> None:
        """Boot until nothing is on trial; the new model answers or never does."""
        for _ in range(MAX_BOOTS):
            slot = self.boot()
            if answers or self.medium.slots[slot] == OLD:
                self.answer(slot)
            if self.state.trial == 0xFF:
                return
        raise AssertionError(f"a trial never ends: {self.medium}")


def build_library(folder: Path) -> ctypes.CDLL:
    """The selector for this machine. Raises TargetError with what the compiler said."""
    headers = [sys.executable, str(ROOT / "tools/gen_headers.py"), "selector", str(folder / "gen/selector.h")]
    subprocess.run(headers, check=True)
    library = folder / "selector.so"
    command = [zig_path(), "cc", "-std=c11", "-O2", "-shared", "-fPIC", "-fno-sanitize=undefined", f"-I{folder}"]
    command += [f"-I{ROOT / 'firmware'}", "-o", str(library), *(str(ROOT / name) for name in SOURCES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TargetError(f"the selector could not be compiled:\n{done.stderr}")
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
        for tear in tears:
            medium = start.copy((write, tear))
            try:
                life(Board(library, medium))
            except PowerCut:
                yield medium
            else:
                raise AssertionError(f"the power was not cut at write {write}")


def check_end(library: ctypes.CDLL, medium: Medium, answers: bool) -> bytes:
    """Boots to the end; returns the image that is active then."""
    rested = medium.copy(None)
    board = Board(library, rested)
    board.live(answers)
    return rested.slots[board.boot()]


def explore(library: ctypes.CDLL, tears: list[float]) -> dict[str, int]:
    """Every single and double cut of every life. Returns the number of states by life. AssertionError: one is lost."""
    found = {}
    for name, life in lives().items():
        answers, count = name.endswith("answers"), 0

        def boots(board: Board, answers: bool = answers) -> None:
            board.live(answers)

        finished = Medium()
        life(Board(library, finished))
        if (check_end(library, finished, answers) == NEW) != answers:
            raise AssertionError(f"{name}: ended wrongly without any cut")
        for first in cuts(library, Medium(), life, tears):
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
