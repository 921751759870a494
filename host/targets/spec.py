# SPDX-License-Identifier: Apache-2.0
"""What ``--target`` means: ``native``, ``spike:vlen=128,harts=4``, ``visionfive2@spike``, ``serial:/dev/ttyUSB0``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from host.boards import Board, board_names, load_board
from host.choices import choices
from host.errors import TargetError
from host.kernels import families
from host.words import shown

DEFAULT_BAUD = 115200
VLENS = (128, 256, 512, 1024)
OPTIONS = ("vlen=BITS", "harts=N", "isa=ISA", "build=DIR", "disk=FILE")


@dataclass(frozen=True)
class TargetSpec:
    """A parsed ``--target``: a board to simulate, or a port (a device's path or a pyserial URL)."""

    text: str
    board: str = ""
    kernels: str = ""
    """Empty where the firmware is to choose at start-up."""
    vlen: int = 0
    harts: int = 0
    isa: str = ""
    build: str = ""
    """Where firmware is built; $HARTSPEAK_BUILD or ``build`` where empty."""
    disk: str = ""
    """Disk image that U-Boot's simulator boots from, and that stays; one is made for the run where empty."""
    port: str = ""
    baud: int = DEFAULT_BAUD
    place: str = ""
    """Place of a labgrid farm."""

    @property
    def is_line(self) -> bool:
        """Whether it is a board that is there already, not a simulator to be started."""
        return bool(self.port or self.place)


def _number(spec: str, key: str, value: str, low: int, high: int) -> int:
    if not value.isdigit() or not low <= int(value) <= high:
        raise TargetError(f"target {spec!r}: {key}={value} should be a number from {low} to {high}")
    return int(value)


def split_address(spec: TargetSpec) -> tuple[str, int]:
    """Host and port of a URL. Raises TargetError where one is missing."""
    try:
        url = urlsplit(spec.port)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise TargetError(f"target {spec.text!r}: {error}") from None
    if not host or not port:
        scheme = spec.port.partition(":")[0]
        raise TargetError(f"target {spec.text!r} needs host and port: {scheme}://board:7077")
    return host, port


def _parse_port(spec: str) -> TargetSpec:
    if re.match(r"[a-z0-9+]+://", spec):
        parsed = TargetSpec(spec, port=spec)
        if spec.startswith(("socket:", "rfc2217:")):
            split_address(parsed)
        return parsed
    if spec.startswith("farm:"):
        place = spec.removeprefix("farm:")
        if not place:
            raise TargetError(f"target {spec!r} names no place; `labgrid-client places` lists them")
        return TargetSpec(spec, place=place)
    path, _, baud = spec.removeprefix("serial:").partition("@")
    if not path:
        raise TargetError(f"target {spec!r} names no device; `host ports` lists them")
    return TargetSpec(spec, port=path, baud=_number(spec, "baud", baud, 300, 10_000_000) if baud else DEFAULT_BAUD)


def _parse_options(spec: str, text: str) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for option in filter(None, text.split(",")):
        key, equals, value = option.partition("=")
        if option in families():
            found["kernels"] = option
        elif key == "vlen" and equals:
            found["vlen"] = _number(spec, key, value, VLENS[0], VLENS[-1])
            if found["vlen"] not in VLENS:
                raise TargetError(f"target {spec!r}: vlen is one of {', '.join(map(str, VLENS))}")
        elif key == "harts" and equals:
            found["harts"] = _number(spec, key, value, 1, 16)
        elif key in ("isa", "build", "disk") and value:
            found[key] = value
        else:
            raise TargetError(
                f"target {spec!r}: unknown option {shown(option)!r}; {choices(option, [*families(), *OPTIONS])}"
            )
    return found


def default_harts(board: Board) -> int:
    """The board's own default; under QEMU, whose harts are threads, no more than this machine has processors."""
    if board.simulator.kind in ("qemu", "u-boot"):
        return min(board.harts.default, os.cpu_count() or 1)
    return board.harts.default


def target_names() -> list[str]:
    """What is started here: this machine, simulators, twins of boards."""
    kinds = {one: load_board(one).simulator.kind for one in board_names()}
    return [one + "@spike" * (kind == "twin") for one, kind in kinds.items() if kind != "none"]


def parse_spec(spec: str) -> TargetSpec:
    """Parse ``--target``. Raises TargetError that lists what there is."""
    if spec.startswith(("/", "serial:", "farm:", "COM")) or "://" in spec:
        return _parse_port(spec)
    name, _, text = spec.partition(":")
    name = name.removesuffix("@spike")
    if name not in board_names():
        raise TargetError(
            f"there is no target {shown(spec)!r}; {choices(spec, target_names())}, a serial device such as "
            "/dev/ttyUSB0@115200 (`host ports` lists them), socket://host:port, rfc2217://host:port and farm:place"
        )
    board = load_board(name)
    if board.simulator.kind == "none":
        raise TargetError(
            f"target {spec!r}: nothing here simulates board {name}; name the serial port that it is on (`host ports`)"
        )
    if "@spike" in spec and board.simulator.kind != "twin":
        raise TargetError(f"target {spec!r}: @spike is for a board's twin (visionfive2@spike)")
    options = _parse_options(spec, text)
    kernels = str(options.setdefault("kernels", "" if board.chosen else board.kernels))
    if kernels and kernels not in board.kernel_names:
        raise TargetError(f"target {spec!r}: board {name} has no {families()[kernels].words}")
    if int(options.get("harts", 1)) > len(board.harts.ids):
        raise TargetError(f"target {spec!r}: board {name} has {len(board.harts.ids)} harts")
    if options.get("vlen") and kernels != "rvv":
        raise TargetError(f"target {spec!r}: vlen= needs RVV kernels; write {name}:rvv,vlen={options['vlen']}")
    if options.get("disk") and board.simulator.kind != "u-boot":
        raise TargetError(f"target {spec!r}: disk= is for simulators with a boot loader (qemu-virt-s)")
    options.setdefault("harts", default_harts(board))
    options.setdefault("vlen", board.vlen if kernels == "rvv" else 0)
    return TargetSpec(spec, board=name, **options)  # type: ignore[arg-type]
