# SPDX-License-Identifier: Apache-2.0
"""Fake devices behind sockets, for commands that open a target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from host.image.reader import Image
from tests.support.fake_device import FakeServer

Serve = Callable[..., str]
"""Starts a fake device with these settings; returns its target."""


@contextmanager
def fake_servers(image: Path, **defaults: object) -> Iterator[Serve]:
    """Devices that run an image of the tiny model; they end with the block."""
    servers: list[FakeServer] = []

    def start(**settings: object) -> str:
        servers.append(FakeServer(**{"root": Image(image).root, "vocab": 131, **defaults, **settings}))
        return servers[-1].target

    try:
        yield start
    finally:
        for server in servers:
            server.close()
