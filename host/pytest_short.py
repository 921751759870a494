# SPDX-License-Identifier: Apache-2.0
"""The short names of the pytest plugin's fixtures: only where no other plugin has one of these (host/pytest_plugin.py).

A project's own fixture of such a name takes the place of ours, for those that use it, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from host.link.client import Client
    from host.pytest_device import Device

NAMES = ("target_spec", "image", "device", "client")


@pytest.fixture
def target_spec(hart_spec: str) -> str:
    """The target that the test runs on."""
    return hart_spec


@pytest.fixture
def image(hart_image: Path | None) -> Path | None:
    """The model image."""
    return hart_image


@pytest.fixture
def device(hart_device: Device) -> Device:
    """The target, not yet started."""
    return hart_device


@pytest.fixture
def client(device: Device, image: Path | None) -> Client:
    """A connection to the started target, with an empty session."""
    from host.pytest_device import connect_or_fail

    return connect_or_fail(device, image)
