# SPDX-License-Identifier: Apache-2.0
"""The header of every frame, and what its fields can be."""

from __future__ import annotations

import enum

from construct import Int8ul, Int16ul, Struct

from host.schema.wire.constants import VERSION_MAX


class Type(enum.IntEnum):
    """Requests are below 0x80; what answers them is not."""

    HELLO = 0x01
    PROMPT = 0x02
    GENERATE = 0x03
    SCORE = 0x04
    TRUNCATE = 0x05
    CANCEL = 0x06
    STATS = 0x07
    PING = 0x08
    RESUME = 0x09
    SET_BAUD = 0x0A
    READ = 0x0B
    WRITE = 0x0C
    SUM = 0x0D
    LOAD = 0x0E
    UNLOAD = 0x0F
    STATE = 0x10
    ADOPT = 0x11
    FAIL = 0x12
    FLASH = 0x13
    ENCODE = 0x14
    ACK = 0x40
    HELLO_REPLY = 0x81
    OK = 0x82
    TOKENS = 0x83
    SCORES = 0x84
    LOGITS = 0x85
    PROGRESS = 0x86
    DONE = 0x87
    STATS_REPLY = 0x88
    DATA = 0x89
    STATE_REPLY = 0x8A
    ERROR = 0x8F


class FrameFlag(enum.IntFlag):
    """How a frame is delivered."""

    UNNUMBERED = 1
    """Outside the sequence: not acknowledged, never repeated, may be lost; ``seq`` means nothing."""
    REPEAT = 2
    """ACK: something is missing from ``ack`` on; send it again now."""


class Channel(enum.IntEnum):
    """Who reads a frame: control for requests and their answers, stream for what a running request produces."""

    CONTROL = 0
    """Requests and their answers."""
    STREAM = 1
    """What a running request produces."""


Frame = Struct(
    "version" / Int8ul * f"protocol version; {VERSION_MAX}",
    "type" / Int8ul * "Type of the message",
    "channel" / Int8ul * "Channel",
    "flags" / Int8ul * "FrameFlag",
    "epoch" / Int16ul * "connection number chosen by the host in HELLO; 0 before",
    "seq" / Int16ul * "number of this frame in its direction and epoch, from 0, modulo 65536",
    "ack" / Int16ul * "seq of the next frame that its sender awaits",
    "credit" / Int16ul * "encoded bytes that its sender can receive now",
    "length" / Int16ul * "bytes of payload, at most 512",
)
