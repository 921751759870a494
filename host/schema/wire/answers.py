# SPDX-License-Identifier: Apache-2.0
"""What a device answers. Each structure is the fixed part of a payload, or a record behind it."""

from __future__ import annotations

import enum

from construct import Float32l, Int16ul, Int32ul, Int64ul, Struct


class Reason(enum.IntEnum):
    """Why a request ended."""

    STOP = 0
    """The last token is a stop id."""
    LENGTH = 1
    """``max_tokens`` were sampled, or nothing was pending any more."""
    CONTEXT_FULL = 2
    """The session holds as many positions as the image allows, and the image says stop."""
    CANCELLED = 3
    """CANCEL ended it."""


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
    "request" / Int32ul * "the SCORE or ENCODE",
    "position" / Int32ul * "of the row; of ENCODE the number of the result",
    "first" / Int32ul * "token id, or place in the result, of the first value",
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
    "id" / Int32ul * "an op's, see host/ops",
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
