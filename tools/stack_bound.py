# SPDX-License-Identifier: Apache-2.0
"""How deep a bare-metal firmware's stacks can get: ``python -m tools.stack_bound ELF``.

Frames come from clang's ``.stack_sizes``, those of assembly from what it takes from sp, and calls from the machine
code. A call through a pointer goes to the functions that POINTERS declares for its caller; a caller that is not
declared, an address taken that nobody is declared to call, recursion and a frame of unknown size are errors.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from host.errors import FitError, HostError
from host.image.inspect import size_text
from host.schema.formats import format_names

HEADER = (Path(__file__).resolve().parents[1] / "firmware/port/bare.h").read_text()


def constant(name: str) -> int:
    """A constant of firmware/port/bare.h."""
    found = re.search(rf"#define {name} +(\w+)", HEADER)
    assert found, name
    return int(found[1], 0)


TRAP_STACK = GUARD = constant("STACK_GUARD_BYTES")
"""Bytes of each hart's stack that are not for its main chain."""
PAINT = constant("STACK_PAINT")
"""What fills each double word that was never written."""
MAX_VLENB = 1024 // 8
VLENB_CSR = 0xC22
RA, SP = 1, 2

PORT = r"port_\w+|set_baud|machine_instret|machine_cycles|no_counter|fail|slot_\w+"
KERNEL = r"(rvv|scalar|swar_linear|table)_\w+|linear(_\w+)?|pack_block(_lean)?"
COMPUTE = r"op_\w+|attend_\w+|values_f32|unit_open|cut_rows|find_maxima|measure_blocks|choice_\w+"
INNER = r"swar_\w+|rvv_\w+|linear\w*|run(_lean)?"
SELECTOR, UPDATE = r"selector_\w+|put_record", r"update_\w+|(read|write)_copy|fetch|store|begin"
POINTERS = [
    ("read_op|image_read_ops", r"decode_\w+"),
    ("run_program", r"op_\w+"),
    ("run_program|verify_leaves|engine_load", "device_poll"),
    ("pool_(worker|run)", "run_program|verify_leaves|find_maxima|measure_blocks"),
    ("link_poll", "dispatch_receive|terminal_takes"),
    ("dispatch_receive", r"((hello|images|runs|sessions|stats|transfer)_)?receive(_\w+)?"),
    ("schedule_step|step", "(generate|score|encode)_(ready|pump|rows|take|is_over)"),
    ("schedule_step|generate_(take|ready)|run_(progress|end)", "(stream|terminal)_(ready|token|progress|end)"),
    ("read_steps|tokenizer_read(_tokens)?", "check_step|knows_flags|step_(knows_none|check_automaton)"),
    ("tokenizer_run_steps", "run_step"),
    ("obey_line|terminal_obey|device_run", "ask|reset|say_(help|stats|unknown)"),
    ("op_linear", KERNEL),
    (COMPUTE, r"(rvv|scalar)_(?!linear)\w+|swar_(pack_queries|score_i8|weigh_i8|values_i8)"),
    ("rvv_activate", "silu|gelu_(tanh|erf)|relu|hyperbolic_tangent"),
    ("swar_linear(_packed)?", rf"run(_({'|'.join(format_names())}|lean))?"),
    ("swar_run_(single|loops)|run(_lean)?", r"swar_\w+_(single|two|four|eight|sums\d)"),
    (SELECTOR, "(read|write)_copy|work_(read|write)"),
    (UPDATE, r"sector_\w+"),
    ("bare_probe", "ask_vector|try_counters"),
    (rf"(?!({COMPUTE}|{INNER}|{SELECTOR}|{UPDATE})$)\w+", PORT),
]
"""(callers, whom they may call through a pointer), as regular expressions of whole names; all rows that match count."""


@dataclass
class Function:
    """What the machine code of one function says."""

    name: str
    start: int
    size: int
    frame: int = 0
    calls: set[int] = field(default_factory=set)
    indirect: bool = False
    takes: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Chain:
    """The deepest chain of calls from a root: its bytes and (function, bytes) from the root on."""

    total: int
    steps: tuple[tuple[str, int], ...]


def signed(value: int, bits: int) -> int:
    """Two's complement of ``bits`` bits."""
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def uleb128(data: bytes, at: int) -> tuple[int, int]:
    """The number at an offset, and the offset behind it."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


def instructions(code: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """(address, bytes, word) of each instruction of 16 or 32 bits."""
    at = 0
    while at + 2 <= len(code):
        size = 4 if code[at] & 3 == 3 else 2
        yield start + at, size, int.from_bytes(code[at : at + size], "little")
        at += size


class Registers:
    """What is known of the integer registers while a function is read from top to bottom.

    Only what clang makes of a frame that grows with VLEN, and of addresses: everything else forgets the register.
    """

    def __init__(self) -> None:
        self.values: dict[int, int] = {0: 0}
        self.copies: set[int] = set()
        """Registers that were sp: it may be set back from them."""
        self.scaled = False
        """Whether VLEN was read: .stack_sizes has constant frames only."""

    def step(self, at: int, size: int, word: int) -> None:
        """One instruction."""
        rd = word >> 7 & 31
        if size == 2 and word & 0xF07F == 0x8002 | SP << 2:
            self.copies.add(rd)
        value = self.compressed(word, rd) if size == 2 else self.full(at, word)
        if size == 2 or word & 0x7F not in (0x23, 0x63):
            self.values.pop(rd, None)
            if value is not None and rd:
                self.values[rd] = value
        self.values[0] = 0

    def compressed(self, word: int, rd: int) -> int | None:
        """The result of c.li, c.lui, c.addi, c.slli, c.mv and c.add; None of others."""
        kind, immediate, rs2 = word & 0xE003, (word >> 7 & 32) | (word >> 2 & 31), word >> 2 & 31
        old, other = self.values.get(rd), self.values.get(rs2)
        if kind == 0x4001:
            return signed(immediate, 6)
        if kind == 0x6001 and rd != SP:
            return signed(immediate, 6) << 12
        if kind == 0x0001 and old is not None:
            return old + signed(immediate, 6)
        if kind == 0x0002 and old is not None:
            return old << immediate
        if kind == 0x8002 and rs2 and other is not None:
            return other if not word & 0x1000 else old + other if old is not None else None
        return None

    def full(self, at: int, word: int) -> int | None:
        """The result of auipc, lui, addi, slli, csrr vlenb, add, sub, mul and sh?add; None of others."""
        opcode, kind = word & 0x7F, word & 0xFE00707F
        a, b = self.values.get(word >> 15 & 31), self.values.get(word >> 20 & 31)
        if opcode in (0x17, 0x37):
            return signed(word & 0xFFFFF000, 32) + (at if opcode == 0x17 else 0)
        if opcode == 0x73 and word >> 20 == VLENB_CSR:
            self.scaled = True
            return MAX_VLENB
        if word & 0x707F == 0x13 and a is not None:
            return a + signed(word >> 20, 12)
        if word & 0xFC00707F == 0x1013 and a is not None:
            return a << (word >> 20 & 63)
        if opcode == 0x33 and a is not None and b is not None:
            known = {0x33: a + b, 0x40000033: a - b, 0x2000033: a * b}
            known |= {0x20002033: 2 * a + b, 0x20004033: 4 * a + b, 0x20006033: 8 * a + b}
            return known.get(kind)
        return None


def jump_target(at: int, word: int) -> int:
    """Where jal goes."""
    bits = (word >> 31 << 20) | (word >> 12 & 0xFF) << 12 | (word >> 20 & 1) << 11 | (word >> 21 & 0x3FF) << 1
    return at + signed(bits, 21)


def short_jump_target(at: int, word: int) -> int:
    """Where c.j goes."""
    places = ((12, 11), (11, 4), (10, 9), (9, 8), (8, 10), (7, 6), (6, 7), (5, 3), (4, 2), (3, 1), (2, 5))
    return at + signed(sum((word >> bit & 1) << to for bit, to in places), 12)


def taken_from_sp(size: int, word: int, registers: Registers) -> int | None:
    """Bytes by which an instruction lowers sp by a constant or a register; None where by something unknown."""
    if size == 2 and word & 0xEF83 == 0x6101:  # c.addi16sp
        places = ((12, 9), (6, 4), (5, 6), (4, 8), (3, 7), (2, 5))
        return max(0, -signed(sum((word >> bit & 1) << to for bit, to in places), 10))
    if size == 2 and word & 0xEF83 == 0x0101:  # c.addi sp
        return max(0, -signed((word >> 7 & 32) | (word >> 2 & 31), 6))
    if size == 2 and word & 0xFF83 == 0x8102 and word >> 2 & 31:  # c.mv sp
        return 0 if word >> 2 & 31 in registers.copies else None
    if size == 4 and word & 0xFFFFF == 0x10113:  # addi sp, sp
        return max(0, -signed(word >> 20, 12))
    if size == 4 and word & 0xFE0FFFFF == 0x40010133:  # sub sp, sp
        return registers.values.get(word >> 20 & 31)
    return 0


class Program:
    """An ELF's functions, what they call and what they take from the stack."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            sections: dict[str, Any] = {section.name: section for section in elf.iter_sections()}
            text, table, sizes = (sections.get(name) for name in (".text", ".symtab", ".stack_sizes"))
            if not (text and table and sizes):
                raise HostError(f"{path}: no firmware of clang: .text, .symtab or .stack_sizes is missing")
            self.functions = {
                s["st_value"]: Function(s.name, s["st_value"], s["st_size"])
                for s in table.iter_symbols()
                if s["st_info"]["type"] == "STT_FUNC" and s["st_size"]
            }
            self.symbols = {s.name: s["st_value"] for s in table.iter_symbols()}
            known = dict(self.read_sizes(sizes.data()))
            code, base = text.data(), text["sh_addr"]
            data = [sections[name].data() for name in (".rodata", ".data")]
        for f in self.functions.values():
            self.read_function(f, code[f.start - base : f.start - base + f.size], known.get(f.start))
        words = {w for part in data for (w,) in struct.iter_unpack("<Q", part[: len(part) // 8 * 8])}
        self.taken = {f.start for f in self.functions.values() if f.start in words}
        self.taken |= {start for f in self.functions.values() for start in f.takes}

    @staticmethod
    def read_sizes(data: bytes) -> Iterator[tuple[int, int]]:
        """(function's address, frame in bytes) of .stack_sizes."""
        at = 0
        while at < len(data):
            (start,) = struct.unpack_from("<Q", data, at)
            size, at = uleb128(data, at + 8)
            yield start, size

    def read_function(self, f: Function, code: bytes, frame: int | None) -> None:
        """Fill in what the code of a function says; ``frame`` is the compiler's word."""
        registers, fixed, grown = Registers(), 0, 0
        for at, size, word in instructions(code, f.start):
            self.read_jump(f, at, size, word, registers)
            taken = taken_from_sp(size, word, registers)
            if taken is None:
                raise HostError(f"{f.name}: its frame has no constant size: no alloca(), no array of variable length")
            if size == 4 and word & 0xFE0FFFFF == 0x40010133:
                grown += taken
            else:
                fixed += taken
            registers.step(at, size, word)
            value = registers.values.get(word >> 7 & 31)
            if size == 4 and word & 0x7F == 0x13 and value is not None and value in self.functions:
                f.takes.add(value)
        f.frame = fixed + grown if frame is None else frame + (grown if registers.scaled else 0)

    def read_jump(self, f: Function, at: int, size: int, word: int, registers: Registers) -> None:
        """Note where a jump leaves the function for."""
        target = None
        if size == 2 and word & 0xE003 == 0xA001:
            target = short_jump_target(at, word)
        elif size == 4 and word & 0x7F == 0x6F:
            target = jump_target(at, word)
        elif size == 4 and word & 0x707F == 0x67:
            base = registers.values.get(word >> 15 & 31)
            target = base + signed(word >> 20, 12) if base is not None else None
            f.indirect |= target is None and word & 0xFFFFF != 0x08067 and word != 0x8067
        elif size == 2 and word & 0xE07F == 0x8002 and word >> 7 & 31:
            f.indirect |= word >> 7 & 31 != RA or bool(word & 0x1000)
        if target is not None and not f.start < target < f.start + f.size:
            f.calls.add(target)

    @cached_property
    def callees(self) -> dict[int, set[int]]:
        """Whom each function may call. Raises HostError where POINTERS does not tell."""
        reached: set[int] = set()
        result = {}
        for f in self.functions.values():
            result[f.start] = set(f.calls)
            if not f.indirect:
                continue
            wanted = [whom for callers, whom in POINTERS if re.fullmatch(callers, f.name)]
            named = {t for t in self.taken for whom in wanted if re.fullmatch(whom, self.functions[t].name)}
            if not wanted:
                raise HostError(f"{f.name} calls through a pointer: declare whom, in POINTERS of tools/stack_bound.py")
            result[f.start] |= named
            reached |= named
        if lost := [self.functions[t].name for t in sorted(self.taken - reached)]:
            raise HostError(
                f"nobody is declared to call {', '.join(lost)}: add them to POINTERS of tools/stack_bound.py"
            )
        return result

    def deepest(self, root: str) -> Chain:
        """The deepest chain from a function. Raises HostError on recursion and on a jump into the unknown."""
        if root not in self.symbols:
            raise HostError(f"there is no function {root}")
        return self.descend(self.symbols[root], [], {})

    def descend(self, start: int, path: list[int], done: dict[int, Chain]) -> Chain:
        """deepest() from an address; ``path`` are its callers."""
        if start in done:
            return done[start]
        if start not in self.functions:
            raise HostError(f"{self.functions[path[-1]].name} jumps to {start:#x}, where no function begins")
        if start in path:
            cycle = [self.functions[at].name for at in [*path[path.index(start) :], start]]
            raise HostError(f"recursion: {' -> '.join(cycle)}; its depth has no bound")
        f = self.functions[start]
        below = [self.descend(callee, [*path, start], done) for callee in sorted(self.callees[start])]
        deepest = max(below, key=lambda chain: chain.total, default=Chain(0, ()))
        done[start] = Chain(deepest.total + f.frame, ((f.name, f.frame), *deepest.steps))
        return done[start]


ROOTS = {
    "firmware": (("boot hart", "bare_main"), ("other harts", "bare_hart_main"), ("traps", "trap_entry")),
    "shim": (("harts", "shim_main"), ("traps", "shim_trap_entry")),
    "applet": (("U-Boot's hart", "_start"),),
}
"""Whose stacks, and where their chains begin, by the stem of the ELF's name."""


def bounds(elf: Path) -> dict[str, Chain]:
    """The deepest chain of each kind of stack. Raises HostError where there is no bound."""
    if elf.stem not in ROOTS:
        raise HostError(f"{elf}: known are {', '.join(f'{name}.elf' for name in ROOTS)}")
    program = Program(elf)
    return {what: program.deepest(root) for what, root in ROOTS[elf.stem]}


def has_sizes(elf: Path) -> bool:
    """Whether the compiler left frames in the ELF: clang does, GCC does not."""
    with elf.open("rb") as stream:
        return ELFFile(stream).get_section_by_name(".stack_sizes") is not None


def check(elf: Path, stack: int) -> str:
    """One line for each kind of stack, of ``stack`` bytes a hart. Raises FitError where one is too small."""
    if not has_sizes(elf):
        return "  stack of a hart           not checked: the compiler is GCC"
    lines = []
    for what, chain in bounds(elf).items():
        limit = TRAP_STACK if what == "traps" else stack - TRAP_STACK - GUARD
        share = 100 * chain.total / limit
        lines.append(f"  stack of {what:<17}{size_text(chain.total):>10} of {size_text(limit):>10} {share:5.1f} %")
        if chain.total > limit:
            steps = " -> ".join(f"{name} {size}" for name, size in chain.steps)
            raise FitError(
                f"the stack of {what} needs {chain.total} bytes, it has {limit}: {steps}; "
                "enlarge memory.stack of the board"
            )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the deepest chains of an ELF; returns the exit status, 1 where there is no bound."""
    if len(arguments) != 1:
        print("usage: python -m tools.stack_bound build/BOARD/firmware.elf", file=sys.stderr)
        return 2
    try:
        found = bounds(Path(arguments[0]))
    except (HostError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for what, chain in found.items():
        print(f"{what}: {chain.total} bytes")
        for name, size in chain.steps:
            print(f"  {size:>6}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
