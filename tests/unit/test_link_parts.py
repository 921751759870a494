# SPDX-License-Identifier: Apache-2.0
"""The receive ring against a queue, and the request validator against the declarations that its table is made from.

With test_link_codec.py these reach every condition of the C that tools/assure.sh measures (MC/DC).
"""

from __future__ import annotations

import ctypes
import struct
from collections import deque
from dataclasses import astuple

import google_crc32c
import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from host.errors import BY_NUMBER
from host.link.frames import decode
from host.schema.wire import header
from host.schema.wire.constants import MAX_ENCODED, MAX_PAYLOAD, VERSION_MAX, VERSION_MIN
from host.schema.wire.header import Type
from host.schema.wire.messages import MESSAGES
from host.schema.wire.payload import SIZES
from tests.support.fake_device import load_codec

RING_BYTES = 4096
REQUESTS = {kind: message for kind, message in MESSAGES.items() if message.sender == "host"}
VERSIONS = [VERSION_MIN - 1, VERSION_MIN, VERSION_MAX, VERSION_MAX + 1]


class CRing(ctypes.Structure):
    _fields_ = (
        ("bytes", ctypes.c_uint8 * RING_BYTES),
        ("first", ctypes.c_uint32),
        ("held", ctypes.c_uint32),
        ("guard", ctypes.c_uint8 * 16),
    )


class CFrame(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint8) for name in ("version", "type", "channel", "flags")),
        *((name, ctypes.c_uint16) for name in ("epoch", "seq", "ack", "credit", "length")),
        ("payload", ctypes.c_char_p),
    )


@pytest.fixture(scope="module")
def codec() -> ctypes.CDLL:
    return load_codec()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5000)), max_size=20))
def test_the_ring_is_a_bounded_queue(codec: ctypes.CDLL, steps: list[tuple[bool, int]]) -> None:
    ring, model, value = CRing(), deque[int](), 0
    out = (ctypes.c_uint8 * 5000)()
    for puts, count in steps:
        for _ in range(count if puts else 0):
            value = (value + 1) % 251
            assert codec.ring_put(ctypes.byref(ring), value) == (len(model) < RING_BYTES)
            if len(model) < RING_BYTES:
                model.append(value)
        if not puts:
            got = codec.ring_take(ctypes.byref(ring), out, count)
            assert list(out[:got]) == [model.popleft() for _ in range(min(count, len(model)))]
        assert codec.ring_room(ctypes.byref(ring)) == RING_BYTES - len(model)
    assert bytes(ring.guard) == bytes(16)


@pytest.mark.parametrize("size", [253, 254, 255, 508])
def test_a_full_block_at_the_end_opens_no_other(codec: ctypes.CDLL, size: int) -> None:
    data, out = b"\1" * size, ctypes.create_string_buffer(520)
    assert codec.cobs_encode(data, size, out) == len(cobs.encode(data))
    assert out.raw[: len(cobs.encode(data))] == cobs.encode(data)


@pytest.mark.parametrize("block", [b"\0", b"\3\1\0", b"\1\0", b"\3\1"])
def test_a_block_with_a_zero_or_without_its_end_is_refused(codec: ctypes.CDLL, block: bytes) -> None:
    assert codec.cobs_decode(ctypes.create_string_buffer(block, len(block)), len(block)) < 0


@pytest.mark.parametrize("length", [MAX_PAYLOAD + 1, MAX_PAYLOAD + 2])
def test_a_payload_beyond_the_limit_is_refused_though_it_fits_the_line(codec: ctypes.CDLL, length: int) -> None:
    head = {"version": 1, "type": 8, "channel": 0, "flags": 0, "epoch": 0, "seq": 0, "ack": 0, "credit": 0}
    raw = header.Frame.build({**head, "length": length}) + bytes(length)
    segment = cobs.encode(raw + google_crc32c.value(raw).to_bytes(4, "little"))
    assert len(segment) <= MAX_ENCODED
    reader, frame = ctypes.create_string_buffer(MAX_ENCODED + 64), CFrame()
    results = [codec.frame_reader_push(reader, byte, ctypes.byref(frame)) for byte in segment + b"\0"]
    assert [BY_NUMBER[-result].name for result in results if result] == ["FRAME"]
    assert decode(segment) is None


def validate(codec: ctypes.CDLL, kind: int, payload: bytes, version: int = VERSION_MAX) -> str:
    """``ok`` or the error's name."""
    frame = CFrame(version, kind, 0, 0, 0, 0, 0, 0, len(payload), payload)
    error = codec.request_validate(ctypes.byref(frame))
    return BY_NUMBER[-error].name if error else "ok"


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_has_its_fixed_part_and_no_more(codec: ctypes.CDLL, kind: Type) -> None:
    size = REQUESTS[kind].head.sizeof()
    assert validate(codec, kind, bytes(size)) == "ok"
    for other in (0, 1, size - 1):
        assert validate(codec, kind, bytes(other)) == "MESSAGE"
    assert validate(codec, kind, bytes(size + 1)) == ("ok" if kind == Type.HELLO else "MESSAGE")


@pytest.mark.parametrize("kind", [kind for kind in REQUESTS if SIZES[kind].record])
@given(st.data())
def test_records_are_as_many_as_counted(codec: ctypes.CDLL, kind: Type, data: st.DataObject) -> None:
    size, record, at = astuple(SIZES[kind])
    there = data.draw(st.integers(0, MAX_PAYLOAD - size))
    nearest = st.sampled_from(
        [there // record, there // record + 1, 2**32 // record, 2**32 // record + there // record]
    )
    count = data.draw(st.one_of(nearest, st.integers(0, 2**32 - 1)))
    payload = bytearray(size + there)
    struct.pack_into("<I", payload, at, count % 2**32)
    expected = "ok" if count % 2**32 * record == there else "MESSAGE"
    assert validate(codec, kind, bytes(payload)) == expected


@pytest.mark.parametrize("kind", [kind for kind in range(256) if kind not in REQUESTS])
def test_a_type_that_no_host_sends_is_refused(codec: ctypes.CDLL, kind: int) -> None:
    assert validate(codec, kind, bytes(64)) == "MESSAGE"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [Type.HELLO, Type.PING])
def test_other_versions_may_only_say_hello(codec: ctypes.CDLL, kind: Type, version: int) -> None:
    known = VERSION_MIN <= version <= VERSION_MAX or kind == Type.HELLO
    assert validate(codec, kind, bytes(REQUESTS[kind].head.sizeof()), version) == ("ok" if known else "PROTOCOL")
