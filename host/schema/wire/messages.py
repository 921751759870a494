# SPDX-License-Identifier: Apache-2.0
"""All messages: who sends each, what it is made of and what it is for."""

from __future__ import annotations

from dataclasses import dataclass

from construct import Struct

from host.schema.wire import answers, requests
from host.schema.wire.constants import MAX_PAYLOAD
from host.schema.wire.header import Type
from host.schema.wire.hello import Hello, HelloReply

MAX_PROMPT_TOKENS = (MAX_PAYLOAD - requests.Prompt.sizeof()) // 4
MAX_TOKEN_RECORDS = (MAX_PAYLOAD - answers.Tokens.sizeof()) // answers.TokenRecord.sizeof()
MAX_SCORE_RECORDS = (MAX_PAYLOAD - answers.Scores.sizeof()) // answers.ScoreRecord.sizeof()
MAX_LOGITS = (MAX_PAYLOAD - answers.Logits.sizeof()) // 4
MAX_STATE_TOKENS = (MAX_PAYLOAD - answers.StateReply.sizeof()) // 4
MAX_DATA_BYTES = MAX_PAYLOAD - requests.Write.sizeof()
MAX_OP_RECORDS = (MAX_PAYLOAD - answers.StatsReply.sizeof()) // answers.OpRecord.sizeof()


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
        "host", requests.Prompt, "u32 token", "Appends tokens to a session; they wait until they are evaluated."
    ),
    Type.GENERATE: Message(
        "host", requests.Generate, None, "Evaluates what is pending and samples. Answered by PROGRESS, TOKENS and DONE."
    ),
    Type.SCORE: Message(
        "host",
        requests.Score,
        None,
        "Evaluates what is pending, all logits. Answered by PROGRESS, SCORES, LOGITS and DONE.",
    ),
    Type.ENCODE: Message(
        "host",
        requests.Encode,
        None,
        "Has an encoder read what is pending as one text. Answered by LOGITS, its vectors or labels, and DONE.",
    ),
    Type.TRUNCATE: Message(
        "host", requests.Truncate, None, "Rolls a session back; length 0 empties it. Answered by OK."
    ),
    Type.CANCEL: Message(
        "host", requests.Cancel, None, "Ends what runs, within one op. Answered by OK; what ran ends with DONE."
    ),
    Type.STATS: Message("host", requests.Stats, None, "Asks for the cost of each op and the state of the line."),
    Type.PING: Message(
        "host", requests.Ping, None, "Answered by OK at any time, also within a step. UNNUMBERED, and so is its answer."
    ),
    Type.RESUME: Message(
        "host",
        requests.Resume,
        None,
        "Takes up the tokens of a GENERATE from any of them on, in this epoch; then come TOKENS and DONE as ever.",
    ),
    Type.SET_BAUD: Message(
        "host", requests.SetBaud, None, "Changes the rate of the line, tentatively. Answered by OK at the old rate."
    ),
    Type.READ: Message(
        "host", requests.Read, None, "Asks for bytes of an image or of a session's state. Answered by DATA."
    ),
    Type.WRITE: Message(
        "host", requests.Write, "u8 byte", "Puts bytes of an image or of a session's state. Answered by OK."
    ),
    Type.SUM: Message("host", requests.Sum, None, "Asks for a checksum of such bytes. Answered by OK."),
    Type.LOAD: Message(
        "host",
        requests.Load,
        None,
        "Checks the image and loads it. Answered by OK at once; then CHECKING, and an announcement.",
    ),
    Type.UNLOAD: Message("host", requests.Unload, None, "Forgets model and sessions, so that an image can be written."),
    Type.STATE: Message(
        "host",
        requests.State,
        None,
        "What a session's state is. Answered by STATE_REPLY, or ERROR 70 if too many tokens wait.",
    ),
    Type.ADOPT: Message(
        "host",
        requests.Adopt,
        None,
        "Gives an empty session so many positions, whose state WRITE then fills. Answered by OK.",
    ),
    Type.FAIL: Message(
        "host",
        requests.Fail,
        None,
        "Breaks a firmware that was built with faults=1, for tests; others refuse it by ERROR 68.",
    ),
    Type.FLASH: Message(
        "host",
        requests.Flash,
        None,
        "Reads the image from the slot, checks and loads it, and has the next boots try it. Answered as LOAD is.",
    ),
    Type.ACK: Message("both", answers.Ack, None, "Nothing but its header. UNNUMBERED."),
    Type.HELLO_REPLY: Message("device", HelloReply, None, "What the device is; also announced. UNNUMBERED."),
    Type.OK: Message("device", answers.Ok, None, "A request without other results was done."),
    Type.TOKENS: Message("device", answers.Tokens, answers.TokenRecord, "Sampled tokens, in order."),
    Type.SCORES: Message("device", answers.Scores, answers.ScoreRecord, "Results of SCORE, in order of positions."),
    Type.LOGITS: Message(
        "device", answers.Logits, "f32 logit", "A part of one row's logits; a row's parts come in order."
    ),
    Type.PROGRESS: Message("device", answers.Progress, None, "Sent after each step of a long evaluation. UNNUMBERED."),
    Type.DONE: Message("device", answers.Done, None, "The end of GENERATE, SCORE or ENCODE."),
    Type.STATS_REPLY: Message("device", answers.StatsReply, answers.OpRecord, "One page of the statistics by op."),
    Type.DATA: Message("device", answers.Data, "u8 byte", "Bytes that READ asked for."),
    Type.STATE_REPLY: Message("device", answers.StateReply, "u32 token", "What a session's state is made of."),
    Type.ERROR: Message(
        "device", answers.Error, None, "The request was refused or failed; nothing else follows for it."
    ),
}
