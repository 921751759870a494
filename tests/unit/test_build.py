# SPDX-License-Identifier: Apache-2.0
"""The build: options, memory table, what is in the ELFs."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from host.boards import TEMPLATE, Hosted, Size, board_names, load_board
from host.errors import FitError, ImageError
from host.image.inspect import session_bytes
from host.image.reader import Image
from host.targets.simulators import firmware_files
from tests.support.native import ROOT
from tests.support.tiny import tiny_image, tiny_llama
from tools import gen_board, gen_headers, memory_table
from tools.scons import toolchain, variant

BUILD = ROOT / os.environ.get("HARTSPEAK_BUILD", "build")
FORBIDDEN = {
    *("malloc", "calloc", "realloc", "free", "printf", "puts", "snprintf", "sprintf", "exit", "abort"),
    *(
        name + suffix
        for name in ("exp", "log", "pow", "sin", "cos", "tanh", "sqrt", "erf", "fma", "floor")
        for suffix in ("", "f")
    ),
}
VARIANTS = [("spike", "rvv"), ("spike", "scalar"), ("qemu-virt", "scalar"), ("visionfive2", "scalar")]


def scons(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "SCons", f"build={BUILD}", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@functools.lru_cache
def built(board: str, kernels: str) -> Path:
    """The variant's ELF, up to date."""
    done = scons("-s", f"board={board}", *([] if load_board(board).chosen else [f"kernels={kernels}"]))
    assert done.returncode == 0, done.stdout + done.stderr
    return firmware_files(load_board(board), kernels, BUILD).program


def words_of(code: bytes) -> Iterator[int]:
    """Instructions of 16 and 32 bits in a function."""
    at = 0
    while at + 2 <= len(code):
        size = 4 if code[at] & 3 == 3 else 2
        yield int.from_bytes(code[at : at + size], "little")
        at += size


def is_vector(word: int) -> bool:
    """OP-V, or a load or store of the vector widths."""
    opcode, width = word & 0x7F, word >> 12 & 7
    return opcode == 0x57 or (opcode in (0x07, 0x27) and width in (0, 5, 6, 7))


def vector_instructions(elf: Path) -> int:
    with elf.open("rb") as stream:
        file = ELFFile(stream)
        found = 0
        for symbol in file.get_section_by_name(".symtab").iter_symbols():
            if symbol["st_info"]["type"] != "STT_FUNC" or not isinstance(symbol["st_shndx"], int):
                continue
            section = file.get_section(symbol["st_shndx"])
            start = symbol["st_value"] - section["sh_addr"]
            found += sum(map(is_vector, words_of(section.data()[start : start + symbol["st_size"]])))
        return found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["bord=spike"], "unknown option bord; did you mean board? known are board, kernels"),
        (["board=visionfive"], "did you mean visionfive2? known are bpi-f3, k230, lichee-pi-4a, linux, linux-aarch64"),
        (["board=spike", "kernels=rvf"], "kernels=rvf is not known; did you mean rvv?"),
        (["board=visionfive2", "kernels=rvv"], "no V extension"),
        (["board=spike", "harts=99"], "harts=99: board spike has 1 to 8"),
        (["board=spike", "dram=much"], "'much' is not a size"),
        (["board=native", "dram=1GiB"], "dram= is for bare-metal boards"),
        (["board=spike", "model=absent.hsp"], "there is no such image"),
        (["board=spike", "toolchain=/absent/riscv-"], "there is no program '/absent/riscv-gcc'"),
    ],
)
def test_wrong_options_are_errors(options: list[str], words: str) -> None:
    done = scons(*options)
    assert done.returncode != 0
    assert words in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_help_names_every_option_and_target() -> None:
    text = scons("-h").stdout
    for word in ("board=", "kernels=", "model=", "toolchain=", "dram=", "size", "run", "debug"):
        assert word in text


@pytest.mark.parametrize(("board", "kernels"), VARIANTS)
def test_bare_metal_elf_has_no_libc_and_no_libm(board: str, kernels: str) -> None:
    with built(board, kernels).open("rb") as stream:
        symbols = {s.name for s in ELFFile(stream).get_section_by_name(".symtab").iter_symbols()}
    assert "engine_step" in symbols
    assert not symbols & FORBIDDEN
    assert not {name for name in symbols if name.startswith(("__libc", "__stdio", "_IO_"))}


def test_vector_code_only_where_it_belongs() -> None:
    assert vector_instructions(built("visionfive2", "scalar")) == 0
    assert vector_instructions(built("spike", "scalar")) == 0
    assert vector_instructions(built("spike", "rvv")) > 100


def test_image_header_and_entry_come_first() -> None:
    data = (built("visionfive2", "scalar").parent / "firmware.bin").read_bytes()
    assert data[0x30:0x38] == b"RISCV\0\0\0"
    assert data[0x38:0x3C] == b"RSC\x05"
    assert int.from_bytes(data[8:16], "little") == 0x200000
    assert int.from_bytes(data[16:24], "little") >= len(data)
    for board in ("spike", "qemu-virt"):
        with built(board, load_board(board).kernels).open("rb") as stream:
            assert ELFFile(stream)["e_entry"] == 0x80000000


def test_second_build_does_nothing() -> None:
    assert scons("board=spike").returncode == 0
    done = scons("board=spike")
    assert done.returncode == 0
    steps = [line for line in done.stdout.splitlines() if line.split(" ")[0] in ("CC", "AS", "LINK", "GEN", "BIN")]
    assert steps == []


def test_size_prints_the_memory_table_with_the_model(tmp_path: Path) -> None:
    image = tmp_path / "tiny.hsp"
    tiny_image(image, tiny_llama())
    done = scons("-s", "board=spike", f"model={image}", "size")
    assert done.returncode == 0, done.stderr
    for row in ("code", "rodata", "bss", "stack", "arena: activations", "state per session", "model image"):
        assert row in done.stdout


def test_build_fails_where_the_model_does_not_fit(tmp_path: Path) -> None:
    image = tmp_path / "tiny.hsp"
    tiny_image(image, tiny_llama())
    with image.open("r+b") as stream:
        stream.truncate((768 << 20) + 4096)
    done = scons("-s", "board=spike", f"model={image}")
    assert done.returncode == 5
    assert "does not fit spike: the image takes 768.0 MiB, it has 768.0 MiB, 4.0 KiB too little" in done.stderr


def test_arena_that_is_too_small_is_told_by_how_much(tmp_path: Path) -> None:
    image = tmp_path / "tiny.hsp"
    tiny_image(image, tiny_llama())
    sizes = memory_table.read_model(image)
    assert sizes.session == session_bytes(Image(image)) < sizes.runtime
    board = replace(load_board("native"), hosted=Hosted(Size(sizes.arena + sizes.runtime - 64)))
    with pytest.raises(FitError, match="64 bytes"):
        memory_table.check_fit(board, built("native", load_board("native").kernels), image)


def test_no_image_is_an_image_error(tmp_path: Path) -> None:
    (tmp_path / "x.hsp").write_bytes(b"nonsense" * 1000)
    with pytest.raises(ImageError, match="model image"):
        memory_table.read_model(tmp_path / "x.hsp")


def test_compile_commands_name_every_core_file() -> None:
    assert scons("board=spike").returncode == 0
    path = (ROOT if ROOT / "build" == BUILD else BUILD) / "compile_commands.json"
    files = {Path(entry["file"]).name for entry in json.loads(path.read_text())}
    assert {"pool.c", "load.c", "bare.c", "attention.c"} <= files


def test_linker_script_and_header_come_from_the_boards_file() -> None:
    board = load_board("visionfive2")
    assert "ORIGIN = 0x40200000, LENGTH = 0xdfffc0" in gen_board.linker(board)
    assert "ORIGIN = 0x40000000, LENGTH = 0x200000" in gen_board.linker(board, part="shim")
    header = gen_board.header(board, "scalar", 2)
    assert "#define BOARD_HART_IDS 1, 2, 3, 4\n" in header
    assert "#define BOARD_HARTS 2\n" in header
    assert "#define BOARD_UART_WIDTH 4\n" in header


@pytest.mark.parametrize("board", [name for name in (*board_names(), TEMPLATE) if load_board(name).memory])
def test_what_depends_on_the_board_compiles_for_each(board: str, tmp_path: Path) -> None:
    """Port and boot code with the board's header; test_every_board_builds does all of it."""
    facts = load_board(board)
    assert facts.entry
    (tmp_path / "gen").mkdir()
    for kind, (name, _) in variant.GENERATED.items():
        if kind != "unicode":
            gen_headers.main(["", kind, str(tmp_path / "gen" / name)])
    (tmp_path / "gen" / "board.h").write_text(gen_board.header(facts, facts.kernels))
    tools = toolchain.choose("zig", facts)
    flags = [*tools.arch, *toolchain.COMMON, "-ffreestanding", "-DPORT_FAULTS=0"]
    flags += [f"-DKERNELS_RVV={int(facts.kernels == 'rvv')}", "-DKERNELS_CHOSEN=0"]
    flags += ["-Ifirmware", "-Ifirmware/boot/include", f"-I{tmp_path}", "-c", "-o", str(tmp_path / "object")]
    for source in ("port/bare.c", f"port/bare_{facts.entry.mode}.c", "boot/start.S"):
        command = [*tools.cc, *flags, f"firmware/{source}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("board", [*board_names(), TEMPLATE])
def test_every_board_builds(board: str) -> None:
    for kernels in load_board(board).isa:
        assert built(board, kernels).is_file()


def test_isa_strings() -> None:
    assert toolchain.extensions("rv64gcv_zba_zbb") == ["m", "a", "f", "d", "c", "v", "zba", "zbb"]
