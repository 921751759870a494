# SPDX-License-Identifier: Apache-2.0
"""Image files that change under a running firmware, and hosts that flood and never read."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from host.link.client import Client
from host.link.frames import Frame, encode
from host.schema.wire import requests
from host.schema.wire.header import FrameFlag, Type
from host.schema.wire.hello import Hello
from host.targets import open_target
from tests.support.hosted import native_program
from tests.support.tiny import tiny_image, tiny_llama

STALL_SECONDS = 5.0
"""LINE_STALL_MS of firmware/port/hosted_line.h."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.hsp"
    tiny_image(path, tiny_llama())
    return path


def program() -> Path:
    return native_program()


@pytest.mark.parametrize("change", ["cut short", "overwritten", "removed"])
def test_an_image_that_changes_under_the_firmware_changes_nothing(change: str, image: Path) -> None:
    """It was read: what was checked is what runs. No signal ends the device, and no other token comes."""
    with open_target("native", image) as target:
        client = Client(target)
        client.connect()

        def answer() -> list[int]:
            client.truncate(0)
            client.prompt([1, 5])
            return [token.id for token in client.generate(6)]

        expected = answer()
        if change == "cut short":
            os.truncate(image, 4096)
        elif change == "removed":
            image.unlink()
        else:
            size = image.stat().st_size
            with image.open("r+b") as file:
                file.write(bytes(size))
        assert answer() == expected


@contextmanager
def tcp_device(image: Path) -> Iterator[tuple[str, int]]:
    open_target("native", image).close()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    command = [str(program()), "--image", str(image), "--arena-size", "16M", "--tcp", f"127.0.0.1:{address[1]}"]
    with subprocess.Popen(command) as process:
        try:
            yield address
            assert process.poll() is None
        finally:
            process.kill()


def connect(address: tuple[str, int], receive_buffer: int = 0) -> socket.socket:
    end = time.monotonic() + 20
    while True:
        line = socket.socket()
        if receive_buffer:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            line.connect(address)
            return line
        except ConnectionRefusedError:
            line.close()
            assert time.monotonic() < end
            time.sleep(0.05)


def hello(epoch: int) -> bytes:
    body = Hello.build({"request": 1, "nonce": epoch, "version_min": 2, "version_max": 2})
    return encode(Frame(Type.HELLO, body, epoch=epoch, flags=FrameFlag.UNNUMBERED))


def test_a_host_that_floods_and_never_reads_gives_way_to_the_next(image: Path) -> None:
    ping = requests.Ping.build({"request": 3, "value": 1})
    flood = encode(Frame(Type.PING, ping, epoch=9, flags=FrameFlag.UNNUMBERED)) * 200
    with tcp_device(image) as address, connect(address, 4096) as rude, socket.socket() as polite:
        rude.sendall(hello(9))
        rude.setblocking(False)
        polite.connect(address)
        polite.sendall(hello(10))
        polite.setblocking(False)
        end = time.monotonic() + 4 * STALL_SECONDS
        while not select.select([polite], [], [], 0.02)[0]:
            assert time.monotonic() < end, "the next host is not served"
            with contextlib.suppress(BlockingIOError, ConnectionError):
                rude.send(flood)
        assert polite.recv(4096)


def test_an_image_that_ends_early_is_told(tmp_path: Path) -> None:
    """Before anything is served, in words."""
    empty = tmp_path / "empty.hsp"
    empty.touch()
    done = subprocess.run([program(), "--image", str(empty)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "not an image file" in done.stderr
