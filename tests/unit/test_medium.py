# SPDX-License-Identifier: Apache-2.0
"""Disks, their boot files and the selector on the host, and the power-cut simulator on the firmware's module."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import fdt
import pytest
from pyfatfs.DosDateTime import DosDateTime
from pyfatfs.PyFat import PyFat
from typer.testing import CliRunner

from host.boards import load_board
from host.cli import create_app
from host.errors import FitError, HostError, UsageError
from host.medium import device, disk, flash, selector, uboot
from host.medium.fat import MINIMUM, fat_image
from tests.support.tiny import tiny_image, tiny_llama
from tools import powercut

BOARD = load_board("visionfive2")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("medium") / "tiny.hsp"
    tiny_image(path, tiny_llama())
    return path


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """What the build leaves, as far as a disk cares."""
    for name in ("firmware.bin", "selector.bin"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    return tmp_path


# ---- file system, tables ----


def test_fat_gives_back_what_was_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"boot.scr": b"text\n" * 999, "firmware.bin": bytes(range(256)) * 700, "empty.txt": b""}
    data = fat_image(files, MINIMUM)
    monkeypatch.setattr(DosDateTime, "now", lambda tz: DosDateTime(2040, 5, 6, tzinfo=tz))
    assert data == fat_image(files, MINIMUM)
    fat = PyFat()
    fat.set_fp(io.BytesIO(data))
    for name, contents in files.items():
        entry = fat.root_dir.get_entry(name.upper())
        assert entry.filesize == len(contents)
        found = (
            b"".join(map(fat.read_cluster_contents, fat.get_cluster_chain(entry.get_cluster()))) if contents else b""
        )
        assert found[: len(contents)] == contents


def test_fat_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"8\.3"):
        fat_image({"a name that is long.bin": b""}, MINIMUM)
    with pytest.raises(ValueError, match="fit"):
        fat_image({"big.bin": bytes(MINIMUM)}, MINIMUM)


def test_disk_can_be_read_again(tmp_path: Path) -> None:
    layout = disk.plan_disk(32 * disk.MIB)
    disk.write_disk(tmp_path / "d", layout.size, disk.partition_tables(layout))
    with (tmp_path / "d").open("rb") as file:
        assert disk.read_layout(file, layout.size) == layout
    ends = [part.offset + part.size for part in layout.parts.values()]
    starts = [part.offset for part in layout.parts.values()][1:]
    assert all(end <= start for end, start in zip(ends, [*starts, layout.size], strict=True))


@pytest.mark.parametrize("contents", [b"", b"EFI PART", bytes(4096), b"\xff" * 40_000])
def test_other_disks_are_refused(contents: bytes) -> None:
    with pytest.raises(UsageError):
        disk.read_layout(io.BytesIO(contents), max(len(contents), 1 << 20))


def test_sizes_are_checked(image: Path) -> None:
    with pytest.raises(FitError, match="too few"):
        disk.plan_disk(64 * disk.MIB, 100 * disk.MIB)
    small = disk.Part(0, 1000)
    with pytest.raises(FitError, match="too many"):
        list(disk.partition_data(small, "x", image))


# ---- U-Boot ----


def test_script_is_a_legacy_image() -> None:
    data = uboot.script_image("echo hello\n", "name")
    header = uboot.LEGACY.parse(data)
    assert header.magic == 0x27051956
    assert header.data_crc == zlib.crc32(data[64:])
    assert header.header_crc == zlib.crc32(data[:4] + bytes(4) + data[8:64])
    assert data[72:] == b"echo hello\n"


def test_fit_names_both_parts() -> None:
    data = uboot.fit_image(BOARD, b"firmware" * 9 + b"!", b"model" * 7)
    tree = fdt.parse_dtb(data)
    for name, contents in (("firmware", b"firmware" * 9 + b"!"), ("model", b"model" * 7)):
        assert bytes(tree.get_property("data", f"/images/{name}").data) == contents
        digest = struct.pack(">8I", *tree.get_property("value", f"/images/{name}/hash").data)
        assert digest == hashlib.sha256(contents).digest()
    assert BOARD.memory
    assert tree.get_property("load", "/images/model").data == [0, BOARD.memory.image]
    assert tree.get_property("loadables", "/configurations/chat").value == "model"


def test_boards_start_by_booti_where_the_address_allows_it() -> None:
    assert uboot.start_command(BOARD) == "booti 0x40200000 - ${fdtcontroladdr}"
    with pytest.raises(UsageError, match="process"):
        uboot.tftp_script(load_board("native"))


# ---- selector ----


def test_newest_record_counts_also_around_zero() -> None:
    def record(sequence: int, active: int) -> bytes:
        return selector.build_record(selector.Selection(sequence, active, selector.NO_SLOT, 0, (1, 2)))

    assert selector.newest([record(5, 0), record(6, 1)])[0] == 1
    assert selector.newest([record(0, 0), record(0xFFFFFFFF, 1)])[0] == 0
    assert selector.newest([bytes(512), record(1, 1)])[0] == 1
    assert selector.newest([bytes(512), bytes(512)]) == (1, None)
    torn = bytearray(record(9, 1))
    torn[20] ^= 1
    assert selector.newest([record(1, 0), bytes(torn)])[0] == 0


def test_an_update_and_its_confirmation() -> None:
    copies = selector.first_selector(77)
    assert selector.plan_confirm(copies) is None
    plan = selector.plan_update(copies, 88)
    for copy, sector in (plan.before, plan.after):
        copies[copy] = sector
    current = selector.newest(copies)[1]
    assert current
    assert (current.active, current.trial, current.tries, current.bytes) == (0, 1, selector.TRIALS, (77, 88))
    confirm = selector.plan_confirm(copies)
    assert confirm
    copies[confirm[0]] = confirm[1]
    current = selector.newest(copies)[1]
    assert current
    assert (current.active, current.trial) == (1, selector.NO_SLOT)


def test_power_cuts(tmp_path: Path) -> None:
    found = powercut.explore(powercut.build_library(tmp_path), [0.5])
    assert len(found) == 4
    assert min(found.values()) > 300


def test_the_simulator_finds_an_update_of_the_slot_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, right = "firmware/flash/selector.c", "(kept + 1u) % SELECTOR_SLOTS"
    text = (powercut.ROOT / name).read_text()
    assert right in text
    (tmp_path / "selector.c").write_text(text.replace(right, "kept"))
    sources = tuple(str(tmp_path / "selector.c") if path == name else path for path in powercut.SOURCES)
    monkeypatch.setattr(powercut, "SOURCES", sources)
    with pytest.raises(AssertionError):
        powercut.explore(powercut.build_library(tmp_path), [0.5])


# ---- media ----


def test_a_disk_image_is_updated_in_its_other_slot(build: Path, image: Path, tmp_path: Path) -> None:
    path, said = tmp_path / "disk.img", []
    flash.write_disk_file(path, BOARD, build, image, None, lambda what, done: said.append((what, done)))
    assert said
    newer = tmp_path / "newer.hsp"
    tiny_image(newer, tiny_llama(seed=2))
    assert flash.update_medium(path, newer, lambda *_: None) == "b"
    with path.open("rb") as file:
        layout = disk.read_layout(file, path.stat().st_size)
        for name, source in (("model_a", image), ("model_b", newer)):
            file.seek(layout.parts[name].offset)
            assert file.read(source.stat().st_size) == source.read_bytes()


def test_an_image_too_large_changes_nothing(build: Path, image: Path, tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    flash.write_disk_file(path, BOARD, build, image, None, lambda *_: None)
    before = path.read_bytes()
    large = tmp_path / "large.hsp"
    with large.open("wb") as file:
        file.truncate(17 * disk.MIB)
    with pytest.raises(FitError):
        flash.update_medium(path, large, lambda *_: None)
    assert path.read_bytes() == before


def test_what_is_read_back_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(8192))
    assert device.write_chunks(path, [(0, b"a" * 512), (4096, b"b" * 512)]) == 1024
    assert path.read_bytes()[4096:4100] == b"bbbb"

    def broken() -> Iterator[tuple[int, bytes]]:
        yield 0, b"c" * 512
        yield 100, b"d" * 10

    with pytest.raises(HostError, match="read back"):
        device.write_chunks(path, broken())


def system(root: Path, **files: str) -> Path:
    """A /sys and a /proc in which sdx is a card with two partitions."""
    about = root / "sys/class/block/sdx"
    for part in ("sdx1", "sdx2"):
        (about / part / "holders").mkdir(parents=True)
        (about / part / "partition").write_text("1")
    (root / "proc").mkdir()
    values = {"mounts": "", "swaps": "", "size": "1000000", "ro": "0"} | files
    (root / "proc/mounts").write_text(values["mounts"])
    (root / "proc/swaps").write_text(values["swaps"])
    (about / "size").write_text(values["size"])
    (about / "ro").write_text(values["ro"])
    return root


def test_a_free_card_is_taken(tmp_path: Path) -> None:
    assert device.find_disk(Path("/dev/sdx"), system(tmp_path)).size == 512_000_000


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"mounts": "/dev/sdx2 / ext4 rw 0 0\n"}, "mounted"),
        ({"swaps": "Filename Type\n/dev/sdx1 partition 1 0 0\n"}, "swapped"),
        ({"ro": "1"}, "write-protected"),
        ({"size": "0"}, "no medium"),
    ],
)
def test_disks_in_use_are_refused(tmp_path: Path, files: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        device.find_disk(Path("/dev/sdx"), system(tmp_path, **files))


def test_parts_of_volumes_and_partitions_are_refused(tmp_path: Path) -> None:
    root = system(tmp_path)
    (root / "sys/class/block/sdx/sdx1/holders/dm-0").touch()
    with pytest.raises(UsageError, match="dm-0"):
        device.find_disk(Path("/dev/sdx"), root)
    (root / "sys/class/block/sdy1").mkdir()
    (root / "sys/class/block/sdy1/partition").write_text("1")
    with pytest.raises(UsageError, match="partition"):
        device.find_disk(Path("/dev/sdy1"), root)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["IMAGE"], "name either"),
        (["--medium", "x"], "which image"),
        (["IMAGE", "--medium", "x", "--update"], "no such medium"),
        (["IMAGE", "--medium", "x", "--slot", "many"], "not a size"),
        (["IMAGE", "--medium", "x", "--board", "spike"], "no medium"),
        (["IMAGE", "--port", "native"], "starts a simulator"),
        (["IMAGE", "--port", "/dev/ttyUSB0", "--confirm"], "alone"),
    ],
)
def test_flags_are_checked(image: Path, arguments: list[str], words: str) -> None:
    words_given = [str(image) if word == "IMAGE" else word for word in arguments]
    result = CliRunner().invoke(create_app(), ["flash", *words_given])
    assert isinstance(result.exception, HostError)
    assert words in str(result.exception)
