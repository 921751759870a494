# SPDX-License-Identifier: Apache-2.0
"""The bytes on the wire: the one declaration that host, firmware and docs/protocol.md are made from.

Everything is little-endian. ``tools/gen_headers.py wire`` turns the constants, enums and structures below into
``gen/wire.h``; ``tools/gen_protocol.py`` turns them into the tables of docs/protocol.md, which has the prose.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from construct import Array, Bytes, Float32l, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Renamed, Struct

from host import __version__

RELEASE = f"hartspeak {__version__}"
"""What firmware made from this source calls itself."""
VERSION_MIN = 2
VERSION_MAX = 2

MAX_PAYLOAD = 512
CRC_BYTES = 4
MAX_RAW = 14 + MAX_PAYLOAD + CRC_BYTES
"""Header, payload and CRC before stuffing."""
MAX_ENCODED = MAX_RAW + (MAX_RAW + 253) // 254
"""After stuffing, without the two delimiters."""
MAX_STOP_IDS = 16
ANNOUNCE_US = 800_000
"""A device that has not been spoken to repeats its HELLO_REPLY this often."""
NO_TOKEN = 0xFFFFFFFF
RECEIVE_BYTES = 3 * (MAX_ENCODED + 2)
"""What the device grants as credit: three whole frames, 143 ms of a line at 115200."""
WINDOW_FRAMES = 16
"""Frames that a device keeps until they are acknowledged."""
WINDOW_CONTROL = 4
"""How many of them only answers may take, so that a stream cannot keep CANCEL from being answered."""
REPEAT_US = 150_000
"""An unacknowledged frame is repeated after this time, then after twice as long again and again, REPEAT_TRIES times."""
REPEAT_MAX_US = 2_000_000
REPEAT_TRIES = 12
ASK_US = 60_000
"""The repetition of the same frame is not asked for more often."""
STRANGER_US = 200_000
"""A device announces itself to who sends in another epoch, no more often."""
BAUD_TRY_US = 500_000
"""After SET_BAUD both ends go back to the old rate unless a frame came at the new one within this time."""
BAUD_LOST_US = 1_000_000
"""A device that hears only damaged frames for so long goes back to the rate that it started with."""
BAUD_RATES = 8
SUM_BYTES = 1 << 16
"""Most bytes that one SUM is about."""
TOKEN_LOG = 4096
"""Tokens of a run that a device keeps for a host that is slow, away or new."""


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
    STREAM = 1


class DeviceState(enum.IntEnum):
    """What the device can do now: NO_MODEL and CHECKING refuse all that needs a model."""

    READY = 0
    NO_MODEL = 1
    RUNNING = 2
    CHECKING = 3


class RunFlag(enum.IntFlag):
    """What GENERATE and SCORE report beside the result."""

    DIGEST = 1
    """CRC-32C over the f32 bits of each row of logits."""
    LOGITS = 2
    """SCORE only: all logits of every row."""


class StatsFlag(enum.IntFlag):
    """What STATS does before it answers."""

    ENABLE = 1
    DISABLE = 2
    RESET = 4


class Space(enum.IntEnum):
    """What READ, WRITE and SUM are about."""

    IMAGE = 0
    """Where the model image lies; written only while no model is loaded."""
    SESSION = 1
    """The state of a session as STATE describes it."""
    SLOT = 2
    """The slot of the medium that does not run; from the first WRITE until FLASH nothing boots it."""


class Failure(enum.IntEnum):
    """What FAIL does, in the middle of whatever runs."""

    HANG = 0
    """Never come back: the watchdog ends it."""
    TRAP = 1
    """An illegal instruction."""
    DEAF = 2
    """Never come back, with interrupts off: only a reset from outside ends it."""


class Reason(enum.IntEnum):
    """Why a request ended."""

    STOP = 0
    LENGTH = 1
    CONTEXT_FULL = 2
    CANCELLED = 3


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

Ack = Struct()

Ok = Struct(
    "request" / Int32ul * "what is answered",
    "value" / Int32ul * "PROMPT, TRUNCATE: tokens of the session, pending ones included; CANCEL: 1 if something ran; "
    "PING: its value; RESUME: tokens sampled so far; SET_BAUD: the rate; SUM: CRC-32C; WRITE: bytes",
)

Tokens = Struct(
    "request" / Int32ul * "the GENERATE",
    "index" / Int32ul * "of the first record, from 0",
    "count" / Int32ul * "records that follow",
)

TokenRecord = Struct(
    "token" / Int32ul * "token id",
    "time_us" / Int32ul * "since the token before; for the first since the request",
    "digest" / Int32ul * "of the logits it was sampled from; 0 without DIGEST",
)

Scores = Struct(
    "request" / Int32ul * "the SCORE",
    "index" / Int32ul * "of the first record, from 0",
    "count" / Int32ul * "records that follow",
)

ScoreRecord = Struct(
    "position" / Int32ul * "of the row",
    "target" / Int32ul * "the token that follows; NO_TOKEN for the last row",
    "logprob" / Float32l * "natural logarithm of the target's probability; 0 without a target",
    "argmax" / Int32ul * "the likeliest token",
    "digest" / Int32ul * "of the row's logits; 0 without DIGEST",
)

Logits = Struct(
    "request" / Int32ul * "the SCORE",
    "position" / Int32ul * "of the row",
    "first" / Int32ul * "token id of the first value",
    "count" / Int32ul * "f32 values that follow",
)

Progress = Struct(
    "request" / Int32ul * "the GENERATE or SCORE",
    "done" / Int32ul * "pending tokens evaluated so far",
    "total" / Int32ul * "of so many",
)

Done = Struct(
    "request" / Int32ul * "the GENERATE or SCORE",
    "reason" / Int32ul * "Reason",
    "evaluated" / Int32ul * "pending tokens evaluated",
    "generated" / Int32ul * "tokens sent",
    "length" / Int32ul * "tokens of the session, pending ones included",
    "tokens_crc" / Int32ul * "CRC-32C over the token ids sent, u32 each",
    "first_us" / Int64ul * "from the request to the first token (TTFT); for SCORE to the end",
    "total_us" / Int64ul * "from the request to its end",
    "prefill_instret" / Int64ul * "instructions of hart 0 until the first token; 0 without counters",
    "prefill_cycles" / Int64ul * "cycles, likewise",
    "decode_instret" / Int64ul * "instructions after the first token",
    "decode_cycles" / Int64ul * "cycles, likewise",
)

StatsReply = Struct(
    "request" / Int32ul * "the STATS",
    "total" / Int32ul * "ops of the program",
    "first" / Int32ul * "op of the first record",
    "count" / Int32ul * "records that follow",
    "frames_received" / Int32ul * "good frames of this epoch",
    "frames_damaged" / Int32ul * "segments that were no frame, since the start",
    "frames_duplicate" / Int32ul * "frames dropped because their seq had been seen",
    "frames_lost" / Int32ul * "frames dropped because one before them was missing",
    "frames_repeated" / Int32ul * "frames that the device sent again",
    "uptime_us" / Int64ul * "the device's clock, microseconds",
)

OpRecord = Struct(
    "id" / Int32ul * "OpId of host/schema/image.py",
    "weight" / Int32ul * "tensor of a LINEAR, else 0xFFFFFFFF",
    "calls" / Int64ul * "times it ran",
    "instret" / Int64ul * "instructions of hart 0",
    "cycles" / Int64ul * "cycles of hart 0",
)

Data = Struct(
    "request" / Int32ul * "the READ",
    "count" / Int32ul * "bytes that follow",
    "offset" / Int64ul * "of the first",
)

StateReply = Struct(
    "request" / Int32ul * "the STATE",
    "length" / Int32ul * "positions evaluated",
    "high" / Int32ul * "positions ever written since the session was empty",
    "count" / Int32ul * "tokens that wait to be evaluated, which follow",
    "bytes" / Int64ul * "of Space.SESSION: the tokens that the context holds, u32 each, then the pages of each state",
)

Error = Struct(
    "request" / Int32ul * "what is answered",
    "code" / Int16ul * "number from the table of errors",
    "type" / Int16ul * "Type of what is answered",
    "detail" / Int64ul * "what the error is about",
)


def flat(declared: Struct) -> struct.Struct:
    """Return the same layout as the standard library reads and writes it, for what is parsed thousands of times.

    Only for structures of plain numbers.
    """
    formats = []
    for field in declared.subcons:
        inner = field
        while isinstance(inner, Renamed):
            inner = inner.subcon
        formats.append(inner.fmtstr[1:])
    return struct.Struct("<" + "".join(formats))


MAX_PROMPT_TOKENS = (MAX_PAYLOAD - Prompt.sizeof()) // 4
MAX_TOKEN_RECORDS = (MAX_PAYLOAD - Tokens.sizeof()) // TokenRecord.sizeof()
MAX_SCORE_RECORDS = (MAX_PAYLOAD - Scores.sizeof()) // ScoreRecord.sizeof()
MAX_LOGITS = (MAX_PAYLOAD - Logits.sizeof()) // 4
MAX_STATE_TOKENS = (MAX_PAYLOAD - StateReply.sizeof()) // 4
MAX_DATA_BYTES = MAX_PAYLOAD - Write.sizeof()
MAX_OP_RECORDS = (MAX_PAYLOAD - StatsReply.sizeof()) // OpRecord.sizeof()


@dataclass(frozen=True)
class Message:
    """One message: who sends it, its fixed part, what is repeated behind it ``count`` times, and what it is for."""

    sender: str
    head: Struct
    record: Struct | str | None
    words: str


MESSAGES: dict[Type, Message] = {
    Type.HELLO: Message("host", Hello, None, "Opens an epoch. Answered by HELLO_REPLY, in every state. UNNUMBERED."),
    Type.PROMPT: Message(
        "host", Prompt, "u32 token", "Appends tokens to a session; they wait until they are evaluated."
    ),
    Type.GENERATE: Message(
        "host", Generate, None, "Evaluates what is pending and samples. Answered by PROGRESS, TOKENS and DONE."
    ),
    Type.SCORE: Message(
        "host", Score, None, "Evaluates what is pending, all logits. Answered by PROGRESS, SCORES, LOGITS and DONE."
    ),
    Type.TRUNCATE: Message("host", Truncate, None, "Rolls a session back; length 0 empties it. Answered by OK."),
    Type.CANCEL: Message(
        "host", Cancel, None, "Ends what runs, within one op. Answered by OK; what ran ends with DONE."
    ),
    Type.STATS: Message("host", Stats, None, "Asks for the cost of each op and the state of the line."),
    Type.PING: Message(
        "host", Ping, None, "Answered by OK at any time, also within a step. UNNUMBERED, and so is its answer."
    ),
    Type.RESUME: Message(
        "host",
        Resume,
        None,
        "Takes up the tokens of a GENERATE from any of them on, in this epoch; then come TOKENS and DONE as ever.",
    ),
    Type.SET_BAUD: Message(
        "host", SetBaud, None, "Changes the rate of the line, tentatively. Answered by OK at the old rate."
    ),
    Type.READ: Message("host", Read, None, "Asks for bytes of an image or of a session's state. Answered by DATA."),
    Type.WRITE: Message("host", Write, "u8 byte", "Puts bytes of an image or of a session's state. Answered by OK."),
    Type.SUM: Message("host", Sum, None, "Asks for a checksum of such bytes. Answered by OK."),
    Type.LOAD: Message(
        "host", Load, None, "Checks the image and loads it. Answered by OK at once; then CHECKING, and an announcement."
    ),
    Type.UNLOAD: Message("host", Unload, None, "Forgets model and sessions, so that an image can be written."),
    Type.STATE: Message(
        "host", State, None, "What a session's state is. Answered by STATE_REPLY, or ERROR 70 if too many tokens wait."
    ),
    Type.ADOPT: Message(
        "host", Adopt, None, "Gives an empty session so many positions, whose state WRITE then fills. Answered by OK."
    ),
    Type.FAIL: Message(
        "host", Fail, None, "Breaks a firmware that was built with faults=1, for tests; others refuse it by ERROR 68."
    ),
    Type.FLASH: Message(
        "host",
        Flash,
        None,
        "Reads the image from the slot, checks and loads it, and has the next boots try it. Answered as LOAD is.",
    ),
    Type.ACK: Message("both", Ack, None, "Nothing but its header. UNNUMBERED."),
    Type.HELLO_REPLY: Message("device", HelloReply, None, "What the device is; also announced. UNNUMBERED."),
    Type.OK: Message("device", Ok, None, "A request without other results was done."),
    Type.TOKENS: Message("device", Tokens, TokenRecord, "Sampled tokens, in order."),
    Type.SCORES: Message("device", Scores, ScoreRecord, "Results of SCORE, in order of positions."),
    Type.LOGITS: Message("device", Logits, "f32 logit", "A part of one row's logits; a row's parts come in order."),
    Type.PROGRESS: Message("device", Progress, None, "Sent after each step of a long evaluation. UNNUMBERED."),
    Type.DONE: Message("device", Done, None, "The end of GENERATE or SCORE."),
    Type.STATS_REPLY: Message("device", StatsReply, OpRecord, "One page of the statistics by op."),
    Type.DATA: Message("device", Data, "u8 byte", "Bytes that READ asked for."),
    Type.STATE_REPLY: Message("device", StateReply, "u32 token", "What a session's state is made of."),
    Type.ERROR: Message("device", Error, None, "The request was refused or failed; nothing else follows for it."),
}
