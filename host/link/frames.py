# SPDX-License-Identifier: Apache-2.0
"""Frames as bytes and back, and the text between them: docs/protocol.md, "Framing"."""

from __future__ import annotations

from dataclasses import dataclass, field

import google_crc32c
from cobs import cobs

from host.schema.wire import header
from host.schema.wire.constants import CRC_BYTES, MAX_ENCODED, MAX_PAYLOAD, VERSION_MAX
from host.schema.wire.header import Channel
from host.schema.wire.payload import flat

HEADER = flat(header.Frame)
DELIMITER = b"\x00"
NOT_TEXT = bytes({*range(0x20), 0x7F} - {*b"\t\n\r\x1b\x08\x07\x0c"})
MAX_LINE = 4096
"""A longer run of text without an end of line is given out in pieces."""


@dataclass(frozen=True)
class Frame:
    """One frame; field meanings are those of ``header.Frame``."""

    type: int
    payload: bytes = b""
    channel: int = Channel.CONTROL
    epoch: int = 0
    seq: int = 0
    ack: int = 0
    credit: int = 0xFFFF
    version: int = VERSION_MAX
    flags: int = 0


@dataclass(frozen=True)
class Text:
    """A line that was on the wire outside frames, without its line end."""

    line: str


@dataclass(frozen=True)
class Damaged:
    """Bytes between two delimiters that are neither frame nor text."""

    data: bytes


def encode(frame: Frame) -> bytes:
    """Bytes on the wire, both delimiters included. ValueError where the payload is longer than 512 bytes."""
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"payload of {len(frame.payload)} bytes; a frame takes {MAX_PAYLOAD}")
    head = HEADER.pack(
        frame.version,
        frame.type,
        frame.channel,
        frame.flags,
        frame.epoch,
        frame.seq,
        frame.ack,
        frame.credit,
        len(frame.payload),
    )
    raw = head + frame.payload
    stuffed: bytes = cobs.encode(raw + google_crc32c.value(raw).to_bytes(4, "little"))
    return DELIMITER + stuffed + DELIMITER


def decode(segment: bytes) -> Frame | None:
    """Return the frame between two delimiters, or None when the bytes are none."""
    if len(segment) > MAX_ENCODED:
        return None
    try:
        raw: bytes = cobs.decode(segment)
    except cobs.DecodeError:
        return None
    covered = len(raw) - CRC_BYTES
    if covered < HEADER.size:
        return None
    if google_crc32c.value(raw[:covered]) != int.from_bytes(raw[covered:], "little"):
        return None
    version, kind, channel, flags, epoch, seq, ack, credit, length = HEADER.unpack_from(raw)
    payload = raw[HEADER.size : covered]
    if length != len(payload) or length > MAX_PAYLOAD:
        return None
    return Frame(kind, payload, channel, epoch, seq, ack, credit, version, flags)


def is_text(data: bytes) -> bool:
    """Whether bytes look like terminal output: UTF-8, and no control characters but the ones that terminals use."""
    if len(data.translate(None, NOT_TEXT)) != len(data):
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass
class Decoder:
    """Takes received bytes in any portions and gives out frames, text lines and damaged segments in order.

    Whole text lines are given out as they come; the last line without its end when a frame follows, or by ``flush``.
    Bytes are never lost: what is neither a frame nor text is given out as Damaged.
    """

    pending: bytearray = field(default_factory=bytearray)
    frames: int = 0
    damaged: int = 0

    def feed(self, data: bytes) -> list[Frame | Text | Damaged]:
        """Everything that is complete after these bytes."""
        out: list[Frame | Text | Damaged] = []
        *segments, rest = data.split(DELIMITER)
        for segment in segments:
            self.pending += segment
            out += self._close()
        self.pending += rest
        if self.pending and not self._may_be_frame():
            out += self._lines()
        elif len(self.pending) > MAX_ENCODED:
            out += self._overlong()
        return out

    def flush(self) -> list[Frame | Text | Damaged]:
        """The bytes that wait for their end, when nothing more will come."""
        return self._close()

    def _may_be_frame(self) -> bool:
        """Whether the bytes since the last delimiter can still become a frame: the version, 1 to 6, is the second."""
        return len(self.pending) < 2 or self.pending[1] < 0x07

    def _close(self) -> list[Frame | Text | Damaged]:
        segment = bytes(self.pending)
        self.pending.clear()
        if not segment:
            return []
        frame = decode(segment)
        if frame is not None:
            self.frames += 1
            return [frame]
        return self._salvage(segment)

    def _salvage(self, segment: bytes) -> list[Frame | Text | Damaged]:
        """Text lines at the start of what was no frame; the rest is damaged, unless all of it is text."""
        if is_text(segment):
            return [Text(line) for line in _split(segment)]
        out: list[Frame | Text | Damaged] = []
        start = 0
        while (end := segment.find(b"\n", start)) >= 0 and is_text(segment[start : end + 1]):
            out += [Text(line) for line in _split(segment[start : end + 1])]
            start = end + 1
        self.damaged += 1
        return [*out, Damaged(segment[start:])]

    def _lines(self) -> list[Frame | Text | Damaged]:
        """Complete lines of text at the start of what is pending."""
        out: list[Frame | Text | Damaged] = []
        while (end := self.pending.find(b"\n")) >= 0 and is_text(bytes(self.pending[: end + 1])):
            out += [Text(line) for line in _split(bytes(self.pending[: end + 1]))]
            del self.pending[: end + 1]
        if len(self.pending) > MAX_LINE:
            out += self._overlong()
        return out

    def _overlong(self) -> list[Frame | Text | Damaged]:
        segment = bytes(self.pending)
        self.pending.clear()
        return self._salvage(segment)


def _split(data: bytes) -> list[str]:
    lines = (line.rstrip("\r") for line in data.decode().rstrip("\n").split("\n"))
    return [line[at : at + MAX_LINE] for line in lines for at in range(0, len(line) or 1, MAX_LINE)]
