# SPDX-License-Identifier: Apache-2.0
"""Where a firmware's and a model's bytes go: the table printed after every link, and the check that they fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from host.boards import Board
from host.errors import FitError
from host.image.inspect import session_bytes, size_text
from host.image.reader import Image

SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4


@dataclass(frozen=True)
class ElfSizes:
    """Bytes of an ELF's parts as they lie in memory."""

    code: int
    rodata: int
    data: int
    bss: int
    stack: int


@dataclass(frozen=True)
class ModelSizes:
    """Bytes that an image and its plan ask for."""

    image: int
    arena: int
    runtime: int
    sessions: int
    session: int
    """Of ``runtime``, what one more session takes."""


def read_elf(path: Path) -> ElfSizes:
    """Sum the allocated sections of an ELF by what they are for."""
    sums = dict.fromkeys(("code", "rodata", "data", "bss", "stack"), 0)
    with path.open("rb") as stream:
        for section in ELFFile(stream).iter_sections():
            flags, size = section["sh_flags"], section["sh_size"]
            if not flags & SHF_ALLOC:
                continue
            if section.name == ".stack":
                kind = "stack"
            elif section["sh_type"] == "SHT_NOBITS":
                kind = "bss"
            else:
                kind = "code" if flags & SHF_EXECINSTR else "data" if flags & SHF_WRITE else "rodata"
            sums[kind] += size
    return ElfSizes(**sums)


def flatten(path: Path) -> bytes:
    """The bytes of an ELF's loaded segments from the lowest address on, gaps zero."""
    with path.open("rb") as stream:
        loads = [s for s in ELFFile(stream).iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
        base = min(s["p_paddr"] for s in loads)
        image = bytearray(max(s["p_paddr"] + s["p_filesz"] for s in loads) - base)
        for s in loads:
            image[s["p_paddr"] - base : s["p_paddr"] - base + s["p_filesz"]] = s.data()
    return bytes(image)


def read_model(path: Path) -> ModelSizes:
    """Size and plan of an image. Raises ImageError."""
    image = Image(path)
    plan = image.plan
    size = path.stat().st_size
    return ModelSizes(size, plan["arena_bytes"], plan["runtime_bytes"], plan["sessions"], session_bytes(image))


def table(board: Board, elf: Path, model: Path | None) -> str:
    """The memory table as text; region limits stand beside what is used of them."""
    sizes, plan = read_elf(elf), read_model(model) if model else None
    firmware = sum((sizes.code, sizes.rodata, sizes.data, sizes.bss, sizes.stack))
    rows: list[tuple[str, int, int | None]]
    rows = [("code", sizes.code, None), ("rodata", sizes.rodata, None), ("data", sizes.data, None)]
    rows += [("bss", sizes.bss, None)] + ([("stack", sizes.stack, None)] if board.memory else [])
    rows.append(("firmware, all", firmware, int(board.memory.firmware.size) if board.memory else None))
    if plan:
        rows.append(("arena: activations", plan.arena, None))
        rows.append((f"arena: state, {plan.sessions} session{'s' * (plan.sessions != 1)}", plan.runtime, None))
        rows.append(("state per session", plan.session, None))
        rows.append(("arena, all", plan.arena + plan.runtime, board.arena_bytes))
        rows.append(("model image", plan.image, board.image_limit))
    else:
        rows.append(("arena (no model= given)", 0, board.arena_bytes))
    lines = [f"memory of {elf} on {board.name}"]
    for name, used, limit in rows:
        of = f" of {size_text(limit):>10} {100 * used / limit:5.1f} %" if limit else ""
        lines.append(f"  {name:<26}{size_text(used):>10}{of}")
    return "\n".join(lines)


def check_fit(board: Board, elf: Path, model: Path | None) -> None:
    """Raise FitError, saying by how much, where firmware, arena or image exceed what the board has."""
    sizes, plan = read_elf(elf), read_model(model) if model else None
    wants: list[tuple[str, int, int | None, str]] = []
    if board.memory:
        firmware = sum((sizes.code, sizes.rodata, sizes.data, sizes.bss, sizes.stack))
        wants.append(("firmware", firmware, int(board.memory.firmware.size), "enlarge memory.firmware in its file"))
    if plan:
        less = "pack with a shorter --context, fewer --sessions or --kv int8"
        wants.append(("arena and state", plan.arena + plan.runtime, board.arena_bytes, less))
        wants.append(("model image", plan.image, board.image_limit, "pack with --weights q4, or build with dram="))
    for name, used, limit, hint in wants:
        if limit is not None and used > limit:
            raise FitError(
                f"{name} needs {size_text(used)}, board {board.name} has {size_text(limit)}: "
                f"{used - limit} bytes too many; {hint}"
            )
