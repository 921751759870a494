# SPDX-License-Identifier: Apache-2.0
"""Addresses in a firmware's TRAP text as functions and lines of source, by the symbols and DWARF lines of its ELF."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from host.errors import UsageError

ADDRESS = re.compile(r"0x[0-9a-f]{16}")


class Symbols:
    """What an ELF tells of its code. Raises UsageError where the file is no ELF with symbols."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file; give the firmware.elf that the board runs")
        try:
            with path.open("rb") as stream:
                elf = ELFFile(stream)
                sections: dict[str, Any] = {section.name: section for section in elf.iter_sections()}
                if ".text" not in sections or ".symtab" not in sections:
                    raise UsageError(f"{path}: no code with symbols; give firmware.elf, not firmware.bin")
                self.base, self.code = sections[".text"]["sh_addr"], sections[".text"].data()
                self.functions = sorted(
                    (s["st_value"], s["st_size"], s.name)
                    for s in sections[".symtab"].iter_symbols()
                    if s["st_info"]["type"] == "STT_FUNC" and s["st_size"]
                )
                self.lines = sorted(line_rows(elf)) if elf.has_dwarf_info() else []
        except OSError as error:
            raise UsageError(
                f"cannot read {path}: {error.strerror}; give the firmware.elf that the board runs"
            ) from error
        except ELFError as error:
            raise UsageError(f"{path}: not an ELF file ({error}); give the firmware.elf that the board runs") from error

    def is_return(self, address: int) -> bool:
        """Whether a call stands before the address: jal or jalr with ra, or c.jalr."""
        at = address - self.base
        if at % 2 or not 4 <= at < len(self.code):
            return False
        long, short = (int.from_bytes(self.code[at - size : at], "little") for size in (4, 2))
        return long & 0xFFF in (0xEF, 0xE7) or (short & 0xF07F == 0x9002 and short != 0x9002)

    def describe(self, address: int) -> str | None:
        """``function+offset file:line`` of an address in the code; None of any other."""
        at = bisect.bisect_right(self.functions, (address, 1 << 64)) - 1
        if at < 0 or address >= self.functions[at][0] + self.functions[at][1]:
            return None
        start, _, name = self.functions[at]
        row = bisect.bisect_right(self.lines, (address, "~", 0)) - 1
        line = f" {self.lines[row][1]}:{self.lines[row][2]}" if row >= 0 and self.lines[row][0] >= start else ""
        return f"{name}+{address - start:#x}{line}"


def line_rows(elf: Any) -> Iterator[tuple[int, str, int]]:
    """(address, file, line) of every row of the DWARF line tables."""
    info = elf.get_dwarf_info()
    for unit in info.iter_CUs():
        program = info.line_program_for_CU(unit)
        if program is None:
            continue
        first = 0 if program["version"] >= 5 else 1
        names = [entry.name.decode(errors="replace") for entry in program["file_entry"]]
        for entry in program.get_entries():
            state = entry.state
            if state and not state.end_sequence and 0 <= state.file - first < len(names):
                yield state.address, names[state.file - first], state.line


def found_places(symbols: Symbols, text: str) -> Iterator[tuple[str, list[str]]]:
    """The text's lines; with TRAP the place of epc, with STACK the places of what can be return addresses."""
    for line in text.splitlines():
        places: list[str] = []
        if "TRAP:" in line and (epc := re.search(r"epc (0x[0-9a-f]{16})", line)):
            places = [symbols.describe(int(epc[1], 16)) or "an address outside of the code"]
        elif line.startswith("STACK:"):
            addresses = [int(found, 16) for found in ADDRESS.findall(line)]
            described = [symbols.describe(at - 2) for at in addresses if symbols.is_return(at)]
            places = [place for place in described if place]
        yield line, places


def symbolize(symbols: Symbols, text: str) -> Iterator[str]:
    """The same as lines for people: each line, behind it its places."""
    for line, places in found_places(symbols, text):
        yield line
        words = "at" if "TRAP:" in line else "perhaps called from"
        yield from (f"  {words} {place}" for place in places)
