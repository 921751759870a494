# SPDX-License-Identifier: Apache-2.0
"""The boards' files and their loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from host.boards import BOARDS, board_names, load_board, parse_size, read_board
from host.errors import UsageError

GOOD = (BOARDS / "visionfive2.toml").read_text()


def write(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text)
    return path


def test_every_board_loads() -> None:
    assert {"linux", "native", "qemu-virt", "spike", "visionfive2"} <= set(board_names())
    for name in board_names():
        assert load_board(name).name == name


def test_visionfive2_facts() -> None:
    board = load_board("visionfive2")
    assert board.uart is not None
    assert (board.uart.base, board.uart.shift, board.uart.width, board.uart.clock) == (0x10000000, 2, 4, 24_000_000)
    assert 0 not in board.harts.ids
    assert board.isa == {"scalar": "rv64gc_zba_zbb"}
    assert board.image_limit == (2 << 30) - 0x20000000
    assert board.layout() == "swar"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("soc = ", "sco = ", "unknown key 'sco'"),
        ("title = ", "# title = ", "key 'title' is missing"),
        ("baud = 115200", 'baud = "fast"', "uart.baud: expected int, found str"),
        ('size = "14 MiB"', 'size = "14 apples"', "memory.firmware.size: '14 apples' is not a size"),
        ("image = 0x60000000", "image = 0x50000000", "memory.arena reaches into memory.image"),
        ("base = 0x40200000", "base = 0x30200000", "lies outside memory.dram"),
        ('mode = "s"', 'mode = "x"', "entry.mode is 'x'; allowed are m, s"),
        ("ids = [1, 2, 3, 4]", "ids = []", "harts.ids needs 1 to 16 ids"),
        ("[uart]", "[uarts]", "unknown key 'uarts'"),
        ("[entry]", "entry ] =", "not TOML"),
        ("title = ", 'like = "nothing"\ntitle = ', "like is 'nothing', which is no other board"),
        ('driver = "ns16550"', 'driver = "pl011"', "uart.driver is 'pl011'; allowed are ns16550, xscale"),
    ],
)
def test_faulty_files_name_file_and_key(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UsageError) as error:
        read_board(path)
    assert str(path) in str(error.value)
    assert words in str(error.value)


def test_unknown_board_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match="known are " + ", ".join(board_names())):
        load_board("../spike")


def test_dram_override_moves_the_image_limit() -> None:
    assert load_board("visionfive2", 8 << 30).image_limit == (8 << 30) - 0x20000000
    with pytest.raises(UsageError, match="dram="):
        load_board("native", 1 << 30)
    with pytest.raises(UsageError, match=r"memory\.arena .* outside"):
        load_board("visionfive2", 256 << 20)


@pytest.mark.parametrize(
    ("text", "size"), [("64 KiB", 65536), ("2GiB", 2 << 30), ("1M", 1 << 20), (7, 7), ("0x10", 16)]
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size
