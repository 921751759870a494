# SPDX-License-Identifier: Apache-2.0
"""Write docs/protocol-messages.md from the declarations in host/schema/wire and host/errors.py.

usage: python -m tools.gen_protocol [--check]; --check only tells, by its exit code, whether the document is up to date.
"""

from __future__ import annotations

import ast
import enum
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from construct import Array, Bytes, FormatField, Padded, Renamed, Struct

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from host.errors import DEVICE_ERRORS
from host.schema.wire import constants, messages
from host.schema.wire.answers import Reason
from host.schema.wire.header import Channel, Frame, FrameFlag
from host.schema.wire.hello import DeviceState
from host.schema.wire.messages import MESSAGES, Message
from host.schema.wire.requests import Failure, RunFlag, Space, StatsFlag

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "protocol-messages.md"
TYPES = {"B": "u8", "H": "u16", "L": "u32", "I": "u32", "Q": "u64", "f": "f32"}
HEAD = """# Messages of the protocol

<!-- tools/gen_protocol.py writes this page from host/schema/wire and host/errors.py: do not edit it. -->

The tables of [the protocol](protocol.md), version {version}. `python -m tools.gen_protocol` writes this page from the
declarations that host and firmware are built from; a test compares the two. All numbers are little-endian.

A message with a type below 0x80 is a request, from host to device. The others come from the
device; ACK comes from both.
"""
ENUMS: tuple[tuple[str, type[enum.IntEnum] | type[enum.IntFlag]], ...] = (
    ("`channel` of a frame", Channel),
    ("`flags` of a frame", FrameFlag),
    ("`state` of HELLO_REPLY", DeviceState),
    ("`flags` of GENERATE and SCORE", RunFlag),
    ("`flags` of STATS", StatsFlag),
    ("`space` of READ, WRITE and SUM", Space),
    ("`kind` of FAIL", Failure),
    ("`reason` of DONE", Reason),
)


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


def member_words(values: type[enum.Enum]) -> dict[str, str]:
    """The text under each member of an enum, as one line."""
    (declared,) = ast.parse(textwrap.dedent(inspect.getsource(values))).body
    assert isinstance(declared, ast.ClassDef)
    found, name = {}, ""
    for node in declared.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            found[name] = " ".join(str(node.value.value).split()).replace("``", "`")
    return found


def enum_table(values: type[enum.IntEnum] | type[enum.IntFlag]) -> list[str]:
    """Number, name and meaning of each member."""
    words = member_words(values)
    rows = (f"| {int(each.value)} | {each.name} | {words[str(each.name)]} |" for each in values)
    return ["| value | name | meaning |", "|---|---|---|", *rows]


def message_section(kind: enum.IntEnum, message: Message) -> Iterator[str]:
    """One message, its fixed part and what is repeated behind it."""
    yield from (f"### {kind.name} ({int(kind):#04x}, {message.sender})", "", message.words, "")
    yield from struct_table(message.head)
    if isinstance(message.record, str):
        yield from ("", f"then `count` times: {message.record}")
    elif message.record is not None:
        yield from ("", "then `count` times:", "", *struct_table(message.record))
    yield ""


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
    rows = (f"| {name} | {vars(constants).get(name) or vars(messages)[name]} |" for name in names.split())
    return ["| limit | value |", "|---|---|", *rows]


def render() -> str:
    """The whole page."""
    lines = [
        HEAD.format(version=constants.VERSION_MAX),
        "## Header of a frame",
        "",
        *struct_table(Frame),
        "",
        "## Values",
        "",
    ]
    for title, values in ENUMS:
        lines += [f"### {title}", "", *enum_table(values), ""]
    for title, senders in (("Requests", ("host", "both")), ("Answers", ("device",))):
        lines += [f"## {title}", ""]
        for kind, message in MESSAGES.items():
            lines += message_section(kind, message) if message.sender in senders else ()
    lines += ["## Errors", "", *error_table(), "", "## Limits", "", *limits_table()]
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    """Write the page, or with --check compare only."""
    if "--check" in argv[1:]:
        return int(not DOCUMENT.is_file() or DOCUMENT.read_text() != render())
    DOCUMENT.write_text(render())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
