# SPDX-License-Identifier: Apache-2.0
"""Images and session contents over the link, in chunks that are compared by checksum before they are sent.

So a transfer that was interrupted, by either end, goes on where it stopped: what is there already is not sent again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
from construct import Bytes, Const, ConstructError, Int32ul, Int64ul, Struct

from host.errors import FitError, TargetError, UsageError
from host.link.client import Client
from host.link.records import DeviceInfo
from host.schema.wire.constants import SUM_BYTES
from host.schema.wire.messages import MAX_DATA_BYTES
from host.schema.wire.requests import Space

Progress = Callable[[int, int], None]

CHUNK_TRIES = 3
UNDER_WAY = 4
"""Requests that are sent before the first is answered."""

SESSION_MAGIC = b"\x89HSPS\r\n\x1a"
Head = Struct(
    "magic" / Const(SESSION_MAGIC),
    "root" / Bytes(32) * "of the image that made it",
    "length" / Int32ul * "positions evaluated",
    "high" / Int32ul * "positions ever written",
    "pending" / Int32ul * "tokens that wait to be evaluated, u32 each, which follow",
    "bytes" / Int64ul * "of the contents behind them",
    "sha256" / Bytes(32) * "of tokens and contents",
)


@dataclass(frozen=True)
class SavedSession:
    """A session as it was: its image, the contents of its evaluated positions, the tokens that waited."""

    root: bytes
    length: int
    high: int
    pending: tuple[int, ...]
    contents: bytes

    def encode(self) -> bytes:
        """The contents of a session file."""
        tokens = b"".join(token.to_bytes(4, "little") for token in self.pending)
        head = Head.build(
            {
                "root": self.root,
                "length": self.length,
                "high": self.high,
                "pending": len(self.pending),
                "bytes": len(self.contents),
                "sha256": hashlib.sha256(tokens + self.contents).digest(),
            }
        )
        return bytes(head) + tokens + self.contents

    @staticmethod
    def decode(data: bytes, name: str) -> SavedSession:
        """From the contents of the file ``name``. UsageError where they are no session or were damaged."""
        try:
            head = Head.parse(data)
        except ConstructError:
            raise UsageError(f"{name} is no session file; host session save makes one") from None
        rest = data[Head.sizeof() :]
        if len(rest) != 4 * head.pending + head.bytes or hashlib.sha256(rest).digest() != head.sha256:
            raise UsageError(f"{name} is damaged; save the session again")
        tokens = [int.from_bytes(rest[4 * i : 4 * i + 4], "little") for i in range(head.pending)]
        return SavedSession(head.root, head.length, head.high, tuple(tokens), rest[4 * head.pending :])


def _chunks(size: int) -> Iterator[tuple[int, int]]:
    for offset in range(0, size, SUM_BYTES):
        yield offset, min(SUM_BYTES, size - offset)


def _write(client: Client, space: Space, session: int, data: bytes, offset: int) -> None:
    waiting: deque[int] = deque()
    for start in range(0, len(data), MAX_DATA_BYTES):
        part = data[start : start + MAX_DATA_BYTES]
        waiting.append(client.memory.send_write(space, session, offset + start, part))
        if len(waiting) > UNDER_WAY:
            client.memory.await_ok(waiting.popleft())
    for request in waiting:
        client.memory.await_ok(request)


def _read(client: Client, space: Space, session: int, offset: int, size: int) -> bytes:
    waiting: deque[int] = deque()
    got = bytearray()
    for start in range(offset, offset + size, MAX_DATA_BYTES):
        waiting.append(client.memory.send_read(space, session, start, min(MAX_DATA_BYTES, offset + size - start)))
        if len(waiting) > UNDER_WAY:
            got += client.memory.await_data(waiting.popleft())
    for request in waiting:
        got += client.memory.await_data(request)
    return bytes(got)


def _put(client: Client, space: Space, session: int, data: bytes, progress: Progress | None) -> int:
    """Make the device hold ``data``; returns how many bytes had to be sent. TargetError where it does not keep them."""
    sent = 0
    for offset, size in _chunks(len(data)):
        part = data[offset : offset + size]
        expected = google_crc32c.value(part)
        for attempt in range(CHUNK_TRIES + 1):
            if client.memory.checksum(space, session, offset, size) == expected:
                break
            if attempt == CHUNK_TRIES:
                raise TargetError(f"bytes {offset} to {offset + size} do not stay as written: check the board's memory")
            _write(client, space, session, part, offset)
            sent += size
        if progress:
            progress(offset + size, len(data))
    return sent


def send_image(client: Client, path: Path, progress: Progress | None = None) -> tuple[DeviceInfo, int]:
    """Replace the device's model by an image; returns what the device then is, and the bytes that had to be sent.

    Raises UsageError where the device has no memory for it, DeviceFailure where it refuses the image.
    """
    data = path.read_bytes()
    area = client.info.image_area
    if len(data) > area:
        room = f"has room for {area}" if area else "takes no image over the link"
        raise UsageError(f"{path} has {len(data)} bytes; {client.info.board} {room}")
    client.memory.unload()
    sent = _put(client, Space.IMAGE, 0, data, progress)
    info = client.memory.load()
    client.require_model()
    return info, sent


def flash_image(client: Client, path: Path, progress: Progress | None = None) -> tuple[DeviceInfo, int]:
    """Put an image into the slot of the device's medium that does not run, and on trial; returns as send_image().

    The model that runs answers until all has been sent. Raises UsageError where the device cannot write a medium,
    FitError, DeviceFailure where it refuses the image; then the old one boots.
    """
    data, room = path.read_bytes(), client.info.slot_bytes
    if not room:
        raise UsageError(f"the firmware of {client.info.board} cannot write a medium: it booted from none of ours")
    if len(data) > min(room, client.info.image_area):
        raise FitError(f"{path} has {len(data)} bytes, a slot of {client.info.board}'s medium {room}")
    sent = _put(client, Space.SLOT, 0, data, progress)
    client.memory.unload()
    info = client.memory.flash(len(data))
    client.require_model()
    return info, sent


def save_session(
    client: Client, session: int = 0, partial: Path | None = None, progress: Progress | None = None
) -> SavedSession:
    """What a session holds. partial: a file that keeps what came so far, for the next try."""
    held = client.sessions.contents(session)
    if partial and held.bytes > shutil.disk_usage(partial.parent).free:
        raise UsageError(f"the session has {held.bytes} bytes, more than is free in {partial.parent}")
    have = partial.read_bytes() if partial and partial.is_file() else b""
    whole = bytearray()
    for offset, size in _chunks(held.bytes):
        part = have[offset : offset + size]
        same = len(part) == size and client.memory.checksum(
            Space.SESSION, session, offset, size
        ) == google_crc32c.value(part)
        whole += part if same else _read(client, Space.SESSION, session, offset, size)
        if partial:
            partial.write_bytes(whole)
        if progress:
            progress(offset + size, held.bytes)
    return SavedSession(client.info.root, held.length, held.high, held.pending, bytes(whole))


def restore_session(client: Client, saved: SavedSession, session: int = 0, progress: Progress | None = None) -> None:
    """Give a session the contents that were saved. UsageError where another image made it."""
    if saved.root != client.info.root:
        raise UsageError(
            f"the session was made by image {saved.root.hex()[:8]}, the device runs {client.info.root.hex()[:8]}"
        )
    client.sessions.adopt(session, saved.length, saved.high)
    if client.sessions.contents(session).bytes != len(saved.contents):
        raise TargetError("the session's state has another size on this device: update host and firmware")
    _put(client, Space.SESSION, session, saved.contents, progress)
    client.prompt(saved.pending, session)
