# SPDX-License-Identifier: Apache-2.0
"""How a connection begins: what a host says first, and what a device is."""

from __future__ import annotations

import enum

from construct import Array, Bytes, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Struct

from host.schema.wire.constants import BAUD_RATES


class DeviceState(enum.IntEnum):
    """What the device can do now: NO_MODEL and CHECKING refuse all that needs a model."""

    READY = 0
    """It takes every request."""
    NO_MODEL = 1
    """The image is absent or refused; ``error`` and ``detail`` of HELLO_REPLY say why."""
    RUNNING = 2
    """A GENERATE or SCORE runs."""
    CHECKING = 3
    """It checks its image."""


Hello = Struct(
    "request" / Int32ul * "echoed by the answer",
    "nonce" / Int32ul * "echoed by the answer, so that an old answer is not taken for it",
    "version_min" / Int8ul * "lowest protocol version that the host speaks",
    "version_max" / Int8ul * "highest",
    Padding(2),
)

HelloReply = Struct(
    "request" / Int32ul * "of the HELLO; 0 in an announcement",
    "nonce" / Int32ul * "of the HELLO; 0 in an announcement",
    "version_min" / Int8ul * "lowest protocol version that the firmware speaks",
    "version_max" / Int8ul * "highest",
    "state" / Int8ul * "DeviceState",
    "counters" / Int8ul * "1: instret and cycles are counted",
    "error" / Int16ul * "NO_MODEL: the error's number",
    "max_payload" / Int16ul * "bytes of payload that the firmware takes",
    "detail" / Int64ul * "NO_MODEL: what the error is about",
    "running" / Int32ul * "RUNNING: id of the request, else 0",
    "vlen" / Int32ul * "bits of a vector register; 0 without V",
    "harts" / Int32ul * "harts that compute",
    "uart_clock_hz" / Int32ul * "0 where the link is no UART",
    "firmware" / Bytes(24) * "version, UTF-8 padded with NUL",
    "board" / Bytes(24) * "name of the board's file",
    "isa" / Bytes(48) * "what the firmware was compiled for",
    "kernels" / Bytes(16) * "kernel family",
    "root" / Bytes(32) * "root of the image's hash tree: which image this is",
    "vocab" / Int32ul * "tokens of the vocabulary",
    "context" / Int32ul * "positions of a session",
    "max_rows" / Int32ul * "rows of a step",
    "max_logit_rows" / Int32ul * "rows of a step whose logits are kept",
    "sessions" / Int32ul * "sessions, numbered from 0",
    "layers" / Int32ul * "layers of the model",
    "overflow" / Int32ul * "what happens at a full context: 0 stop, 1 slide",
    "pending_limit" / Int32ul * "tokens, of all sessions, that may wait for evaluation",
    "image_bytes" / Int64ul * "size of the image",
    "weight_bytes" / Int64ul * "of which weights",
    "arena_bytes" / Int64ul * "activations",
    "runtime_bytes" / Int64ul * "KV pages and other state of all sessions",
    "arena_available" / Int64ul * "memory that the board gives for both",
    "uptime_us" / Int64ul * "the device's clock, microseconds",
    "run" / Int32ul * "id of the GENERATE that runs or ran last, for RESUME; 0: none",
    "run_session" / Int32ul * "its session",
    "run_tokens" / Int32ul * "tokens that it has sampled",
    "baud" / Int32ul * "bits a second now; 0 where they cannot be changed",
    "bauds" / Array(BAUD_RATES, Int32ul) * "rates that SET_BAUD takes; 0: none",
    "image_area" / Int64ul * "bytes for an image that WRITE can fill; 0: none",
    "slot_bytes" / Int64ul * "bytes of a slot of the medium, where the firmware can write it; else 0",
)
