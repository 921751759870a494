# SPDX-License-Identifier: Apache-2.0
"""Updates of a medium over the link: the firmware's own module on a file, behind the fake device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from host.errors import DeviceFailure, FitError, UsageError
from host.link.client import Client
from host.link.transfer import flash_image
from host.medium.selector import COPIES, COPY_STRIDE, NO_SLOT, TRIALS, Selection, first_selector, newest
from host.schema.wire.constants import SUM_BYTES
from host.schema.wire.requests import Space
from tests.support.fake_device import FakeDevice

SLOT = 400 * 512
OLD = bytes(100_000)


class Medium:
    """The fake device's disk: two copies of the selector, slot a with OLD, slot b with something."""

    def __init__(self, path: Path) -> None:
        self.path = path
        copies = b"".join(sector.ljust(COPY_STRIDE, b"\xff") for sector in first_selector(len(OLD)))
        path.write_bytes(copies + OLD.ljust(SLOT, b"\xff") + b"\xee" * SLOT)

    def slot(self, number: int) -> bytes:
        return self.path.read_bytes()[COPIES * COPY_STRIDE + number * SLOT :][:SLOT]

    def selection(self) -> Selection:
        data = self.path.read_bytes()
        found = newest([data[copy * COPY_STRIDE :][:512] for copy in range(COPIES)])[1]
        assert found
        return found


@pytest.fixture
def medium(tmp_path: Path) -> Medium:
    return Medium(tmp_path / "disk")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "new.hsp"
    path.write_bytes(bytes(i * i % 251 for i in range(150_001)))
    return path


def connect(device: FakeDevice) -> Client:
    client = Client(device, patience=20)
    client.connect()
    return client


class LineCut(Exception):
    """The line was cut."""


def cut_at(bytes_done: int) -> Callable[[int, int], None]:
    def progress(done: int, _total: int) -> None:
        if done >= bytes_done:
            raise LineCut

    return progress


def test_an_update_goes_on_after_cuts(medium: Medium, image: Path) -> None:
    """The line is cut after the first chunk, the power after the second."""
    data = image.read_bytes()
    device = FakeDevice(disk=medium.path, image_bytes=len(data))
    with pytest.raises(LineCut):
        flash_image(connect(device), image, cut_at(1))
    client = connect(device)
    with pytest.raises(LineCut):
        flash_image(client, image, cut_at(SUM_BYTES + 1))
    client.prompt([1, 2, 3])
    assert len(list(client.generate(2))) == 2
    device.close()
    assert medium.selection() == Selection(2, 0, NO_SLOT, 0, (len(OLD), 0))
    device = FakeDevice(disk=medium.path, image_bytes=len(data))
    _, sent = flash_image(connect(device), image)
    device.close()
    assert sent == len(data) - 2 * SUM_BYTES
    assert medium.slot(1)[: len(data)] == data
    assert medium.slot(1)[len(data) :] == b"\xee" * (SLOT - len(data))
    assert medium.slot(0)[: len(OLD)] == OLD
    assert medium.selection() == Selection(4, 0, 1, TRIALS, (len(OLD), len(data)))


def test_only_what_booted_from_the_slot_confirms_it(medium: Medium, image: Path) -> None:
    size = image.stat().st_size
    for running, active in ((0, 0), (1, 1)):
        device = FakeDevice(disk=medium.path, image_bytes=size, slot=running)
        client = connect(device)
        if not running:
            flash_image(client, image)
        client.prompt([1, 2, 3])
        assert len(list(client.generate(2))) == 2
        device.close()
        assert medium.selection().active == active


def test_an_image_on_trial_is_overwritten_and_then_not_confirmed_by_the_old_one(medium: Medium, image: Path) -> None:
    size = image.stat().st_size
    device = FakeDevice(disk=medium.path, image_bytes=size)
    flash_image(connect(device), image)
    device.close()
    image.write_bytes(image.read_bytes()[::-1])
    device = FakeDevice(disk=medium.path, image_bytes=size, slot=1)
    client = connect(device)
    flash_image(client, image)
    assert medium.slot(1)[:size] == image.read_bytes()
    client.prompt([1, 2, 3])
    assert len(list(client.generate(2))) == 2
    device.close()
    assert (medium.selection().active, medium.selection().trial) == (0, 1)


def test_the_only_good_slot_is_kept(medium: Medium, image: Path) -> None:
    """The active slot a was passed over at the boot, for it is damaged: b runs."""
    device = FakeDevice(disk=medium.path, image_bytes=image.stat().st_size, slot=1)
    flash_image(connect(device), image)
    device.close()
    assert medium.slot(1) == b"\xee" * SLOT
    assert (medium.selection().active, medium.selection().trial) == (1, 0)


@pytest.mark.parametrize("settings", [{"verify_error": 4}, {"image_bytes": 150_002}])
def test_what_is_not_good_when_read_back_is_not_tried(medium: Medium, image: Path, settings: dict[str, int]) -> None:
    device = FakeDevice(disk=medium.path, **{"image_bytes": image.stat().st_size, **settings})
    with pytest.raises(DeviceFailure, match="IMAGE_"):
        flash_image(connect(device), image)
    device.close()
    assert (medium.selection().active, medium.selection().trial) == (0, NO_SLOT)


def test_limits(medium: Medium, image: Path, tmp_path: Path) -> None:
    device = FakeDevice()
    with pytest.raises(UsageError, match="medium"):
        flash_image(connect(device), image)
    with pytest.raises(DeviceFailure, match="PARAMETER"):
        connect(device).memory.checksum(Space.SLOT, 0, 0, 1)
    with pytest.raises(DeviceFailure, match="PARAMETER"):
        connect(device).memory.flash(1)
    device.close()
    device = FakeDevice(disk=medium.path)
    large = tmp_path / "large.hsp"
    large.write_bytes(bytes(SLOT + 1))
    client = connect(device)
    with pytest.raises(FitError, match=str(SLOT + 1)):
        flash_image(client, large)
    with pytest.raises(DeviceFailure, match="RANGE"):
        client.memory.await_ok(client.memory.send_write(Space.SLOT, 0, SLOT - 1, b"xx"))
    with pytest.raises(DeviceFailure, match="LOADED"):
        client.memory.flash(1)
    client.memory.unload()
    with pytest.raises(DeviceFailure, match="RANGE"):
        client.memory.flash(SLOT + 1)
    assert client.memory.await_data(client.memory.send_read(Space.SLOT, 0, 510, 4)) == b"\xee" * 4
    device.close()
    assert medium.selection() == Selection(1, 0, NO_SLOT, 0, (len(OLD), 0))
