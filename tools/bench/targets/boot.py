# SPDX-License-Identifier: Apache-2.0
"""The hashes at start-up: instructions beside those of SHA-256, which images had before, in the same firmware."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from host.boards import load_board
from host.errors import TargetError
from host.image.hashing import payload_digests, root_digest
from host.image.reader import Image
from host.image.writer import header_page
from host.packing.resolve import resolve_image
from host.places import build_root
from host.schema.image import HEADER_BYTES, SECTION_TABLE_OFFSET, HashId, Section, SectionId
from host.talk.opening import OpenOptions, open_client
from host.targets import parse_spec
from host.targets.opening import build_firmware
from host.targets.process import ProcessTarget
from host.targets.simulators import firmware_files, option_value, qemu_command, qemu_program, serial_line
from tools.bench import peers
from tools.bench.hashes import a_byte, run_hashes
from tools.bench.targets.row import Bench, Row

TARGET = "qemu-virt:scalar,harts=4"
FUNCTIONS = ("verify_leaves", "hash_leaf_is_good", "blake2b_digest", "sha256_digest", "compress", "schedule")
"""Where harts are while they hash."""


def rows(bench: Bench) -> Iterator[Row]:
    """Instructions a byte, and of SmolLM2's start-up on QEMU by its hart counts."""
    with tempfile.TemporaryDirectory() as folder:
        for extensions, words in (("_zba_zbb", "Zbb"), ("", "no Zbb")):
            found = a_byte(run_hashes(Path(folder), extensions))
            note = f"{found['blake2b']:.1f} of {found['sha256']:.1f} instructions a byte"
            yield Row(f"BLAKE2b beside SHA-256, {words}", found["blake2b"] / found["sha256"], 0.40, note=note)
        old, new = Path(folder) / "old.hsp", resolve_image(peers.MODEL, TARGET)
        write_with(Image(new), HashId.SHA256, old)
        before, now = (count_hashes(bench, image, Path(folder)) for image in (old, new))
        note = f"{sum(now) / 1e6:.0f} of {sum(before) / 1e6:.0f} M"
        yield Row("hashes of SmolLM2's start-up, QEMU, 4 harts together", sum(now) / sum(before), 0.40, note=note)
        note = f"{max(now) / 1e6:.0f} M"
        yield Row("the longest of the 4 harts, of all instructions before", max(now) / sum(before), 0.15, note=note)


def write_with(image: Image, kind: HashId, out: Path) -> None:
    """The same image with another hash, unsigned."""
    data = bytearray(image.path.read_bytes())
    at, size = image.sections[SectionId.HASHES]
    table = b"".join(payload_digests(kind, bytes(data[HEADER_BYTES:at])))
    data[at : at + size] = table
    count = image.header["section_count"]
    entries = [dict(Section.parse(data[SECTION_TABLE_OFFSET + i * Section.sizeof() :])) for i in range(count)]
    header = image.header | {"hash": kind, "root": root_digest(kind, table)}
    data[:HEADER_BYTES] = header_page(header, entries)
    out.write_bytes(data)


def functions(elf: Path) -> list[tuple[int, int]]:
    """Where the functions that hash begin and end. Raises TargetError where one is missing."""
    with elf.open("rb") as file:
        tables = [s for s in ELFFile(file).iter_sections() if isinstance(s, SymbolTableSection)]
        symbols = [s for t in tables for s in t.iter_symbols() if s.name in FUNCTIONS]
    missing = set(FUNCTIONS) - {symbol.name for symbol in symbols}
    if missing:
        raise TargetError(f"{elf} has no function {', '.join(sorted(missing))}: what hashes is called otherwise now")
    return [(symbol["st_value"], symbol["st_value"] + symbol["st_size"]) for symbol in symbols]


def count_hashes(bench: Bench, image: Path, folder: Path) -> list[int]:
    """Instructions that each hart of QEMU's machine spends in hashes, from its start until the model is ready."""
    spec = parse_spec(TARGET)
    board = load_board(spec.board)
    build_firmware(board, spec, None)
    firmware = firmware_files(board, spec.kernels, build_root(spec.build))
    plugin, out = peers.build_plugin(bench.work, qemu_program()), folder / f"{image.stem}.count"
    parts = ",".join(f"from={start:#x},to={end:#x}" for start, end in functions(firmware.program))
    command = qemu_command(board, firmware, image, spec.kernels, spec.vlen, spec.harts)
    command += ["-plugin", f"{option_value(plugin)},out={option_value(out)},{parts}"]
    target = ProcessTarget(lambda fd: [*command, *serial_line(fd)], "QEMU with a counter", on_socket=True)
    with open_client(target, OpenOptions(patience=peers.PATIENCE), size=image.stat().st_size) as client:
        client.require_model()
    if not out.is_file():
        raise TargetError(f"{command[0]} counted nothing: it must have plugins enabled")
    counts = [int(line) for line in out.read_text().split()]
    if len(counts) != spec.harts:
        raise TargetError(f"{len(counts)} harts hashed instead of {spec.harts}")
    return counts
