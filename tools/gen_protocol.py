# SPDX-License-Identifier: Apache-2.0
"""Write the tables of docs/protocol.md from the declarations in host/schema/wire.py and host/errors.py.

usage: python -m tools.gen_protocol [--check]; --check only tells, by its exit code, whether the document is up to date.
"""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Any

from construct import Array, Bytes, FormatField, Padded, Renamed, Struct

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from host.errors import DEVICE_ERRORS
from host.schema import wire as messages

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "protocol.md"
TYPES = {"B": "u8", "H": "u16", "L": "u32", "I": "u32", "Q": "u64", "f": "f32"}


def type_name(inner: Any) -> str:
    """``u32``, ``u32[16]`` or ``bytes[24]``."""
    if isinstance(inner, FormatField):
        return TYPES[inner.fmtstr[-1]]
    if isinstance(inner, Array):
        return f"{type_name(inner.subcon)}[{inner.count}]"
    return f"{'padding' if isinstance(inner, Padded) else 'bytes'}[{inner.sizeof()}]"


def struct_table(struct: Struct) -> list[str]:
    """Offset, type, name and meaning of each field."""
    lines = ["| offset | type | field | meaning |", "|---|---|---|---|"]
    offset = 0
    for field in struct.subcons:
        inner = field
        while isinstance(inner, Renamed):
            inner = inner.subcon
        kind = type_name(inner) if isinstance(inner, (FormatField, Array, Bytes)) else f"padding[{inner.sizeof()}]"
        lines.append(f"| {offset} | {kind} | {field.name or ''} | {field.docs or '0'} |")
        offset += field.sizeof()
    return lines


def enum_table(values: type[enum.IntEnum] | type[enum.IntFlag]) -> list[str]:
    """Number and name of each member."""
    return ["| value | name |", "|---|---|", *(f"| {int(each.value)} | {each.name} |" for each in values)]


def message_sections() -> list[str]:
    """One section a message, its fixed part and what is repeated behind it."""
    lines = []
    for kind, message in messages.MESSAGES.items():
        lines += [f"### {kind.name} ({int(kind):#04x}, {message.sender})", "", message.words, ""]
        lines += struct_table(message.head)
        if isinstance(message.record, str):
            lines += ["", f"then `count` times: {message.record}"]
        elif message.record is not None:
            lines += ["", "then `count` times:", "", *struct_table(message.record)]
        lines.append("")
    return lines


def error_table() -> list[str]:
    """Every error a device can answer with."""
    lines = ["| number | name | what | what to do |", "|---|---|---|---|"]
    return lines + [f"| {e.number} | {e.name} | {e.what} | {e.hint} |" for e in DEVICE_ERRORS]


def limits_table() -> list[str]:
    """The numbers that both sides are built with."""
    names = (
        "MAX_PAYLOAD MAX_RAW MAX_ENCODED RECEIVE_BYTES ANNOUNCE_US MAX_STOP_IDS MAX_PROMPT_TOKENS MAX_TOKEN_RECORDS "
        "MAX_SCORE_RECORDS MAX_LOGITS MAX_OP_RECORDS MAX_DATA_BYTES MAX_STATE_TOKENS SUM_BYTES WINDOW_FRAMES "
        "WINDOW_CONTROL REPEAT_US REPEAT_MAX_US REPEAT_TRIES ASK_US STRANGER_US BAUD_TRY_US BAUD_LOST_US TOKEN_LOG"
    )
    return ["| limit | value |", "|---|---|", *(f"| {name} | {getattr(messages, name)} |" for name in names.split())]


def sections() -> dict[str, list[str]]:
    """Every generated part of the document by the name in its marker."""
    return {
        "frame": struct_table(messages.Frame),
        "frame-flags": enum_table(messages.FrameFlag),
        "channels": enum_table(messages.Channel),
        "spaces": enum_table(messages.Space),
        "failures": enum_table(messages.Failure),
        "states": enum_table(messages.DeviceState),
        "reasons": enum_table(messages.Reason),
        "run-flags": enum_table(messages.RunFlag),
        "stats-flags": enum_table(messages.StatsFlag),
        "messages": message_sections(),
        "errors": error_table(),
        "limits": limits_table(),
    }


def render(text: str) -> str:
    """Return the document with each part between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` made anew."""
    for name, lines in sections().items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{DOCUMENT.name} has no part {name!r}: put {begin} and {end} where it belongs")
        text = f"{head}{begin}\n" + "\n".join(lines).strip() + f"\n{end}{tail}"
    return text


def main(argv: list[str]) -> int:
    """Write the document, or with --check compare only."""
    before = DOCUMENT.read_text()
    after = render(before)
    if "--check" in argv[1:]:
        return int(before != after)
    DOCUMENT.write_text(after)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
