# SPDX-License-Identifier: Apache-2.0
"""Two slots through the boot chain of a real board: OpenSBI, U-Boot, selector, firmware."""

from __future__ import annotations

from pathlib import Path

import pytest

from host.boards import load_board
from host.errors import TargetError
from host.image.reader import Image
from host.link import transfer
from host.link.client import Client
from host.link.transfer import flash_image
from host.medium.console import UBoot
from host.medium.disk import MIB, plan_disk, read_layout, slot_bytes, write_disk
from host.medium.flash import BoardDisk
from host.medium.selector import COPIES, COPY_STRIDE, NO_SLOT, SECTOR_BYTES, Selection, newest, plan_update
from host.medium.uboot import disk_chunks
from host.places import build_root
from host.targets import parse_spec
from host.targets.opening import build_firmware, open_target
from host.targets.process import ProcessTarget
from host.targets.simulators import (
    LoaderTarget,
    firmware_files,
    qemu_program,
    uboot_command,
    uboot_program,
)
from tests.support.tiny import tiny_image, tiny_llama


class Disk:
    """A disk image with our partitions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.layout = read_layout(file, path.stat().st_size)

    def copies(self) -> list[bytes]:
        with self.path.open("rb") as file:
            found = []
            for copy in range(COPIES):
                file.seek(self.layout.parts["selector"].offset + copy * COPY_STRIDE)
                found.append(file.read(SECTOR_BYTES))
        return found

    def selection(self) -> Selection:
        selection = newest(self.copies())[1]
        assert selection is not None
        return selection

    def put(self, partition: str, data: bytes, at: int = 0) -> None:
        with self.path.open("r+b") as file:
            file.seek(self.layout.parts[partition].offset + at)
            file.write(data)

    def update(self, image: bytes) -> None:
        """As host flash does it."""
        plan = plan_update(self.copies(), len(image))
        self.put("selector", plan.before[1], plan.before[0] * COPY_STRIDE)
        self.put(f"model_{'ab'[plan.slot]}", image)
        self.put("selector", plan.after[1], plan.after[0] * COPY_STRIDE)


def boot(disk: Disk, answer: bool = True) -> bytes:
    """Switch on, see which image runs, let it answer or not, switch off. Returns the image's root."""
    with open_target(f"qemu-virt-s:disk={disk.path}", None) as target:
        client = Client(target, patience=60.0)
        info = client.connect(timeout=60.0)
        if answer:
            client.prompt([1, 2, 3])
            assert len(list(client.generate(2))) == 2
        return info.root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slots")
    for seed in (1, 2):
        tiny_image(folder / f"{seed}.hsp", tiny_llama(seed=seed))
    return [folder / "1.hsp", folder / "2.hsp"]


@pytest.fixture
def disk(images: list[Path], tmp_path: Path) -> Disk:
    try:
        qemu_program()
        uboot_program()
    except TargetError as error:
        pytest.skip(str(error))
    spec, board = parse_spec("qemu-virt-s"), load_board("qemu-virt-s")
    firmware = firmware_files(board, spec.kernels, build_root(spec.build))
    if not (firmware.directory / "selector.bin").is_file():
        build_firmware(board, spec, None)
    path = tmp_path / "disk.img"
    layout = plan_disk(slot_bytes(images[0].stat().st_size))
    write_disk(path, layout.size, disk_chunks(board, layout, firmware.directory, images[0]))
    return Disk(path)


def test_an_update_is_tried_confirmed_and_survives_damage(disk: Disk, images: list[Path]) -> None:
    old, new = (Image(path).header["root"] for path in images)
    disk.update(images[1].read_bytes())
    assert boot(disk, answer=False) == new
    assert (disk.selection().active, disk.selection().trial, disk.selection().tries) == (0, 1, 2)
    assert boot(disk) == new
    assert (disk.selection().active, disk.selection().trial) == (1, NO_SLOT)
    disk.put("model_b", b"\0" * 64, at=images[1].stat().st_size // 2)
    assert boot(disk, answer=False) == old
    assert disk.path.stat().st_size >= 2 * slot_bytes(images[0].stat().st_size) + 18 * MIB


def test_an_update_over_the_link_goes_on_after_cuts(
    disk: Disk, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two chunks are not there yet. After the first the line is cut, then the power: the old model boots."""
    chunk, missing = 4096, (5, 30)
    monkeypatch.setattr(transfer, "SUM_BYTES", chunk)
    old, new = (Image(path).header["root"] for path in images)
    there = bytearray(images[1].read_bytes())
    for number in missing:
        there[number * chunk : (number + 1) * chunk] = bytes(chunk)
    disk.put("model_b", bytes(there))

    class LineCut(Exception):
        pass

    def cut(done: int, _total: int) -> None:
        if done > missing[0] * chunk:
            raise LineCut

    with open_target(f"qemu-virt-s:harts=1,disk={disk.path}", None) as target:
        client = Client(target, patience=60.0)
        assert client.connect(timeout=60.0).slot_bytes == 16 * MIB
        with pytest.raises(LineCut):
            flash_image(client, images[1], cut)
        client = Client(target, patience=60.0)
        assert client.connect(timeout=60.0).root == old
        client.prompt([1, 2, 3])
        assert len(list(client.generate(2))) == 2
    assert (disk.selection().active, disk.selection().trial, disk.selection().bytes[1]) == (0, NO_SLOT, 0)
    with open_target(f"qemu-virt-s:harts=1,disk={disk.path}", None) as target:
        client = Client(target, patience=60.0)
        assert client.connect(timeout=60.0).root == old
        info, sent = flash_image(client, images[1])
        assert (info.root, sent) == (new, chunk)
    assert (disk.selection().active, disk.selection().trial, disk.selection().tries) == (0, 1, 3)
    assert boot(disk) == new
    assert (disk.selection().active, disk.selection().trial) == (1, NO_SLOT)


@pytest.mark.slow
def test_a_model_that_never_answers_is_given_up(disk: Disk, images: list[Path]) -> None:
    old, new = (Image(path).header["root"] for path in images)
    disk.update(images[1].read_bytes())
    assert [boot(disk, answer=False) for _ in range(4)] == [new, new, new, old]
    assert disk.selection().trial == NO_SLOT


class UBootTarget(LoaderTarget):
    """The board before its firmware runs: every byte gets through."""

    def write(self, data: bytes) -> None:
        ProcessTarget.write(self, data)


@pytest.mark.slow
def test_update_and_confirmation_through_the_console(disk: Disk, images: list[Path]) -> None:
    spec, board = parse_spec(f"qemu-virt-s:harts=1,disk={disk.path}"), load_board("qemu-virt-s")
    with UBootTarget(uboot_command(board, spec, disk.path), "U-Boot", None, on_socket=True) as target:
        console = UBoot(target)
        console.catch(60.0)
        with pytest.raises(TargetError, match="could not"):
            BoardDisk(console, board, "mmc 3")
        medium = BoardDisk(console, board, "virtio 0")
        assert not medium.confirm()
        assert medium.update(images[1].read_bytes(), lambda *_: None) == "b"
        assert (disk.selection().active, disk.selection().trial) == (0, 1)
        with disk.path.open("rb") as file:
            file.seek(disk.layout.parts["model_b"].offset)
            assert file.read(images[1].stat().st_size) == images[1].read_bytes()
        assert medium.confirm()
        assert (disk.selection().active, disk.selection().trial) == (1, NO_SLOT)
