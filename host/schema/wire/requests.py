# SPDX-License-Identifier: Apache-2.0
"""What a host asks for. Each structure is the fixed part of a payload."""

from __future__ import annotations

import enum

from construct import Array, Float32l, Int32ul, Int64ul, Padding, Struct

from host.schema.wire.constants import MAX_STOP_IDS


class RunFlag(enum.IntFlag):
    """What GENERATE and SCORE report beside the result."""

    DIGEST = 1
    """CRC-32C over the f32 bits of each row of logits."""
    LOGITS = 2
    """SCORE only: all logits of every row."""


class StatsFlag(enum.IntFlag):
    """What STATS does before it answers."""

    ENABLE = 1
    """Count from now on."""
    DISABLE = 2
    """Count no longer."""
    RESET = 4
    """Begin all counts at 0."""


class Space(enum.IntEnum):
    """What READ, WRITE and SUM are about."""

    IMAGE = 0
    """``image_area`` bytes where the model image lies; they are written only while no model is loaded."""
    SESSION = 1
    """``bytes`` of STATE_REPLY: the tokens that the context holds, then the pages of each state."""
    SLOT = 2
    """``slot_bytes`` of the medium, in the slot that does not run; from WRITE until FLASH nothing boots it."""


class Failure(enum.IntEnum):
    """What FAIL does, in the middle of whatever runs."""

    HANG = 0
    """Never come back: the watchdog ends it."""
    TRAP = 1
    """An illegal instruction."""
    DEAF = 2
    """Never come back, with interrupts off: only a reset from outside ends it."""


Prompt = Struct(
    "request" / Int32ul * "echoed by the answer",
    "session" / Int32ul * "session number",
    "position" / Int32ul * "of the first token: positions evaluated plus tokens pending",
    "count" / Int32ul * "tokens that follow, u32 each",
)

Generate = Struct(
    "request" / Int32ul * "echoed by every answer",
    "session" / Int32ul * "session number",
    "max_tokens" / Int32ul * "0: only evaluate what is pending",
    "flags" / Int32ul * "RunFlag; LOGITS is refused",
    "temperature" / Float32l * "0: greedy",
    "top_k" / Int32ul * "0: off",
    "top_p" / Float32l * "1: off",
    "min_p" / Float32l * "0: off",
    "repeat_penalty" / Float32l * "1: off",
    "repeat_last" / Int32ul * "positions looked back; 0: off",
    "seed" / Int64ul * "of the random numbers",
    "stop_count" / Int32ul * "stop ids used",
    "stop_ids" / Array(MAX_STOP_IDS, Int32ul) * "tokens that end the answer",
)

Score = Struct(
    "request" / Int32ul * "echoed by every answer",
    "session" / Int32ul * "session number",
    "flags" / Int32ul * "RunFlag",
)

Encode = Struct(
    "request" / Int32ul * "echoed by every answer",
    "session" / Int32ul * "session number; it is empty but for what is pending, and empty again afterwards",
)

Truncate = Struct(
    "request" / Int32ul * "echoed by the answer",
    "session" / Int32ul * "session number",
    "length" / Int32ul * "positions to keep; what is pending is dropped beyond it",
)

Cancel = Struct(
    "request" / Int32ul * "echoed by the answer",
    "target" / Int32ul * "id of the request to cancel; 0: any",
)

Stats = Struct(
    "request" / Int32ul * "echoed by the answer",
    "flags" / Int32ul * "StatsFlag",
    "first" / Int32ul * "first op wanted",
)

Ping = Struct(
    "request" / Int32ul * "echoed by the answer",
    "value" / Int32ul * "echoed by the answer",
)

Resume = Struct(
    "request" / Int32ul * "echoed by the answer",
    "target" / Int32ul * "id of the GENERATE: run of HELLO_REPLY",
    "index" / Int32ul * "of the first token wanted",
)

SetBaud = Struct(
    "request" / Int32ul * "echoed by the answer",
    "baud" / Int32ul * "one of bauds of HELLO_REPLY",
)

Read = Struct(
    "request" / Int32ul * "echoed by the answer",
    "space" / Int32ul * "Space",
    "session" / Int32ul * "of Space.SESSION, else 0",
    "size" / Int32ul * "bytes wanted, at most MAX_DATA_BYTES",
    "offset" / Int64ul * "of the first",
)

Write = Struct(
    "request" / Int32ul * "echoed by the answer",
    "space" / Int32ul * "Space",
    "session" / Int32ul * "of Space.SESSION, else 0",
    "count" / Int32ul * "bytes that follow",
    "offset" / Int64ul * "of the first",
)

Sum = Struct(
    "request" / Int32ul * "echoed by the answer",
    "space" / Int32ul * "Space",
    "session" / Int32ul * "of Space.SESSION, else 0",
    "size" / Int32ul * "bytes, at most SUM_BYTES",
    "offset" / Int64ul * "of the first",
)

Load = Struct(
    "request" / Int32ul * "echoed by the answer",
)

Unload = Struct(
    "request" / Int32ul * "echoed by the answer",
)

State = Struct(
    "request" / Int32ul * "echoed by the answer",
    "session" / Int32ul * "session number",
)

Adopt = Struct(
    "request" / Int32ul * "echoed by the answer",
    "session" / Int32ul * "session number",
    "length" / Int32ul * "positions evaluated",
    "high" / Int32ul * "positions ever written",
)

Fail = Struct(
    "request" / Int32ul * "echoed by the refusal",
    "kind" / Int32ul * "Failure",
)

Flash = Struct(
    "request" / Int32ul * "echoed by the answer",
    Padding(4),
    "bytes" / Int64ul * "of the image in the slot",
)
