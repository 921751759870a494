# SPDX-License-Identifier: Apache-2.0
"""Every message and every typed line, in every state of the device.

The lists are read: messages from the declaration of the protocol, commands from what the device itself lists. Each is
sent in each state to a device whose clock the test moves; it answers as docs/protocol.md says, and lives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from host.compiler.compile import Options
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Layout
from host.schema.wire import requests
from host.schema.wire.header import Type
from host.schema.wire.hello import DeviceState, HelloReply
from host.schema.wire.messages import MESSAGES
from host.schema.wire.requests import Space
from tests.support.lockstep import LockstepLine
from tests.support.raw_host import (
    REQUESTS,
    RawHost,
    Sent,
    all_messages,
    error_of,
    fields,
)
from tests.support.texts import described, trained
from tests.support.tiny import tiny_image, tiny_llama

ROOT = Path(__file__).resolve().parents[2]
AREA = 1 << 20
OP_SECONDS = 1e-3
"""Long enough for a message to arrive within a step."""
HOST_GONE = 10.5
"""After so many seconds without a frame the device takes text again."""
PROMPT = b"\r\n> "

NEEDS_MODEL = {Type.PROMPT, Type.GENERATE, Type.SCORE, Type.ENCODE, Type.TRUNCATE, Type.RESUME, Type.STATE, Type.ADOPT}
ANSWERS = {
    Type.HELLO: Type.HELLO_REPLY,
    Type.STATS: Type.STATS_REPLY,
    Type.READ: Type.DATA,
    Type.STATE: Type.STATE_REPLY,
    Type.GENERATE: Type.DONE,
    Type.SCORE: Type.DONE,
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("states") / "tiny.hsp"
    source = tiny_llama(3, vocab_size=trained("smollm").get_vocab_size(), hidden_size=32, intermediate_size=32)
    source.tokenizer = described("smollm")
    tiny_image(path, source, Options(weights=Q8, kv=Format.KV8, context=256, layout=Layout.SWAR, sessions=2))
    return path


# ---- states ----


def load(host: RawHost) -> None:
    """Have a model."""
    state = HelloReply.parse(host.hello().payload).state
    while state in (DeviceState.CHECKING, DeviceState.RUNNING):
        host.do(Type.CANCEL)
        host.look()
        state = HelloReply.parse(host.hello().payload).state
    if state == DeviceState.NO_MODEL:
        host.do(Type.LOAD)
        load(host)


def be_ready(host: RawHost) -> bytes:
    load(host)
    for session in range(2):
        host.do(Type.TRUNCATE, session=session)
    host.do(Type.PROMPT, b"\5\0\0\0", count=1)
    return b""


def be_without(host: RawHost) -> bytes:
    """No model was ever there."""
    host.hello()
    return b""


def be_unloaded(host: RawHost) -> bytes:
    load(host)
    host.do(Type.UNLOAD)
    return b""


def be_checking(host: RawHost) -> bytes:
    """The rest comes in the same look at the line as what begins the check."""
    be_unloaded(host)
    return host.packed(Type.LOAD, bytes(4))[1]


def be_flashing(host: RawHost) -> bytes:
    be_unloaded(host)
    return host.packed(Type.FLASH, requests.Flash.build(fields(requests.Flash, bytes=len(host.line.image_bytes))))[1]


def be_receiving(host: RawHost) -> bytes:
    """Half an image has come."""
    be_unloaded(host)
    host.do(Type.WRITE, host.line.image_bytes[:400], space=Space.IMAGE, count=400)
    return b""


def be_updating(host: RawHost) -> bytes:
    """Half an image is in the slot, and half a session has come."""
    be_ready(host)
    host.do(Type.WRITE, host.line.image_bytes[:400], space=Space.SLOT, count=400)
    host.do(Type.ADOPT, session=1, length=70, high=70)
    host.do(Type.WRITE, bytes(8), space=Space.SESSION, session=1, count=8)
    return b""


def be_generating(host: RawHost) -> bytes:
    be_ready(host)
    values = fields(requests.Generate, max_tokens=200, top_p=1.0, repeat_penalty=1.0)
    request, data = host.packed(Type.GENERATE, requests.Generate.build(values))
    host.line.write(data)
    host.wait(request, {Type.TOKENS})
    return b""


def be_scoring(host: RawHost) -> bytes:
    be_ready(host)
    host.do(Type.PROMPT, b"\5\0\0\0" * 100, count=100, position=1)
    request, data = host.packed(Type.SCORE, requests.Score.build(fields(requests.Score)))
    host.line.write(data)
    host.wait(request, {Type.SCORES})
    return b""


def be_answering(host: RawHost) -> bytes:
    """Somebody at the terminal is being answered, in a session that the host has not used."""
    load(host)
    host.do(Type.TRUNCATE)
    host.do(Type.PROMPT, b"\5\0\0\0", count=1)
    host.silent(HOST_GONE)
    host.line.write(b"hello\r")
    end = host.line.now() + 1
    host.text = b""
    while host.line.now() < end and b"hello\r\n" not in host.text:
        host.look(0.002)
    assert b"hello\r\n" in host.text
    return b""


READY = [be_ready, be_updating]
ABSENT = [be_without, be_unloaded, be_receiving]
CHECKING = [be_checking, be_flashing]
RUNNING = [be_generating, be_scoring, be_answering]
STATES: list[Callable[[RawHost], bytes]] = [*READY, *ABSENT, *CHECKING, *RUNNING]


def documented(state: Callable[[RawHost], bytes], sent: Sent) -> tuple[set[str], bool]:
    """The errors that docs/protocol.md allows ({"*"}: any that is about the fields), and whether an answer is."""
    if sent.kind not in REQUESTS or (sent.words == "its id alone" and MESSAGES[Type(sent.kind)].head.sizeof() > 4):
        return {"MESSAGE"}, False
    if sent.words == "ones" and MESSAGES[Type(sent.kind)].record:
        return {"MESSAGE"}, False
    if sent.kind == Type.FAIL:
        return {"PARAMETER"}, False
    changes = sent.kind == Type.STATS and sent.payload[4:8] != bytes(4)
    if sent.kind in (Type.HELLO, Type.CANCEL, Type.PING) or (sent.kind == Type.STATS and not changes):
        return set(), True
    if sent.kind in NEEDS_MODEL and state in [*ABSENT, *CHECKING]:
        return {"NOT_READY"}, False
    if sent.kind == Type.RESUME:
        return {"RUN"}, True
    if state in [*CHECKING, *RUNNING]:
        return {"BUSY"}, False
    if sent.words == "a session" and state in ABSENT:
        return {"NOT_READY"}, False
    return {"*"}, True


def check(host: RawHost, state: Callable[[RawHost], bytes], sent: Sent) -> None:
    """Send it in that state."""
    before = state(host)
    host.frames.clear()
    request, data = host.packed(sent.kind, sent.payload)
    if sent.kind == Type.HELLO and (set(), True) == documented(state, sent):
        host.seq = host.awaited = 0
    host.line.write(before + data)
    errors, answered = documented(state, sent)
    answers = {ANSWERS.get(Type(sent.kind), Type.OK) if sent.kind in REQUESTS else Type.ERROR, Type.ERROR}
    found = host.wait(request, {int(kind) for kind in answers})
    if found.type != Type.ERROR:
        assert answered, "was answered"
        return
    name = error_of(found)
    assert name in errors or (errors == {"*"} and name not in ("NOT_READY", "BUSY", "MESSAGE")), name


class Line(LockstepLine):
    """One that knows its image."""

    image_bytes: bytes = b""


def start(image: Path | None, known: Path) -> RawHost:
    line = Line(image, op_seconds=OP_SECONDS, area=AREA, slot=AREA)
    line.image_bytes = known.read_bytes()
    return RawHost(line)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__.removeprefix("be_"))
def test_every_message_is_answered_as_documented(state: Callable[[RawHost], bytes], image: Path) -> None:
    host = start(None if state is be_without else image, image)
    try:
        for sent in all_messages(image):
            try:
                check(host, state, sent)
            except Exception as error:
                raise AssertionError(f"{sent}: {error}") from error
    finally:
        host.line.close()


# ---- typed lines ----

NO_MODEL = "no model is loaded"


def typed(host: RawHost, keys: bytes) -> str:
    """What is shown for a line, up to the next prompt."""
    host.text = b""
    host.line.write(keys)
    end = host.line.now() + 30
    while host.line.now() < end and not host.text.endswith(PROMPT):
        host.look(0.2)
    return host.text.decode(errors="replace")


def commands(host: RawHost) -> list[str]:
    """Those that the device lists, and its own list."""
    return ["/help", *re.findall(r"^(/\w+)", typed(host, b"/help\r"), re.MULTILINE)]


@pytest.mark.parametrize("state", [*READY, *ABSENT], ids=lambda state: state.__name__.removeprefix("be_"))
@pytest.mark.parametrize("answered", [False, True], ids=["first", "later"])
def test_every_typed_line_is_answered(state: Callable[[RawHost], bytes], answered: bool, image: Path) -> None:
    """Also where the terminal has answered before a host took the model away."""
    host = start(None if state is be_without else image, image)
    try:
        if answered and state is not be_without:
            load(host)
            host.silent(HOST_GONE)
            typed(host, b"hello\r")
        assert not state(host)
        host.silent(HOST_GONE)
        known = commands(host)
        assert len(known) == 3
        for line in [*known, "hello", "/nonsense", " ", "a\x01"]:
            shown = typed(host, line.encode() + b"\r")
            missing = NO_MODEL in shown
            needed = state in ABSENT and line in ("/stats", "hello", "a\x01")
            assert missing == needed, (line, shown)
            assert ("unknown command" in shown) == (line == "/nonsense")
        assert "^C" in typed(host, b"abc\x03")
        host.hello()
    finally:
        host.line.close()


def test_nobody_reads_behind_a_model_that_is_not_there() -> None:
    """Whoever wants a model is handed it: its maker has two callers, and nobody follows it unasked."""
    callers = {}
    for path in sorted((ROOT / "firmware").rglob("*.c")):
        text = path.read_text()
        assert not re.search(r"\b(engine_info|engine_model|engine_tokenizer)\([^)]*\)\s*->", text), path
        for name in re.findall(r"(\w+) = (?:error \? NULL : )?(?:engine_info|engine_model)\([^)]*\);", text):
            assert re.search(rf"!(\w+->)?{name}\b|\({name}\)|\b{name} &&|\b{name} \?", text), (path, name)
        if path.parent.name != "engine" and (count := len(re.findall(r"\bengine_info\(", text))):
            callers[path.name] = count
    assert callers == {"hello.c": 1, "images.c": 2}
