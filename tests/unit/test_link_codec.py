# SPDX-License-Identifier: Apache-2.0
"""The frame codec: C and Python read what the other writes, and nothing that is no frame passes as one."""

from __future__ import annotations

import ctypes

import google_crc32c
import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from host.link.frames import Damaged, Decoder, Frame, Text, decode, encode
from host.schema.wire import header
from host.schema.wire.constants import MAX_ENCODED
from host.schema.wire.header import Type
from tests.support.fake_device import load_codec

FRAMES = st.builds(
    Frame,
    type=st.integers(0, 255),
    payload=st.one_of(
        st.binary(max_size=512), st.integers(0, 512).map(bytes), st.integers(0, 512).map(lambda n: b"\1" * n)
    ),
    channel=st.integers(0, 255),
    epoch=st.integers(0, 0xFFFF),
    seq=st.integers(0, 0xFFFF),
    ack=st.integers(0, 0xFFFF),
    credit=st.integers(0, 0xFFFF),
    version=st.integers(1, 6),
    flags=st.integers(0, 255),
)


class CFrame(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint8) for name in ("version", "type", "channel", "flags")] + [
        (name, ctypes.c_uint16) for name in ("epoch", "seq", "ack", "credit", "length")
    ]
    _fields_ += [("payload", ctypes.POINTER(ctypes.c_uint8))]


class CReader(ctypes.Structure):
    _fields_ = [
        ("bytes", ctypes.c_uint8 * MAX_ENCODED),
        ("size", ctypes.c_uint32),
        ("overlong", ctypes.c_uint32),
        ("guard", ctypes.c_uint8 * 16),
    ]


@pytest.fixture(scope="module")
def codec() -> ctypes.CDLL:
    return load_codec()


def c_encode(codec: ctypes.CDLL, frame: Frame) -> bytes:
    payload = (ctypes.c_uint8 * max(1, len(frame.payload))).from_buffer_copy(frame.payload or b"\0")
    raw = CFrame(
        frame.version, frame.type, frame.channel, frame.flags, frame.epoch, frame.seq, frame.ack, frame.credit,
        len(frame.payload), payload,
    )  # fmt: skip
    out = (ctypes.c_uint8 * (MAX_ENCODED + 2))()
    return bytes(out[: codec.frame_encode(ctypes.byref(raw), out)])


def c_read(codec: ctypes.CDLL, data: bytes) -> tuple[list[Frame], int]:
    """Frames and the number of damaged segments."""
    reader, raw, frames, damaged = CReader(), CFrame(), [], 0
    for byte in data:
        got = codec.frame_reader_push(ctypes.byref(reader), byte, ctypes.byref(raw))
        damaged += got < 0
        if got == 1:
            payload = ctypes.string_at(raw.payload, raw.length)
            frames.append(
                Frame(raw.type, payload, raw.channel, raw.epoch, raw.seq, raw.ack, raw.credit, raw.version, raw.flags)
            )
    assert bytes(reader.guard) == bytes(16)
    return frames, damaged


@given(FRAMES)
def test_c_and_python_write_the_same_bytes_and_read_each_other(codec: ctypes.CDLL, frame: Frame) -> None:
    wire = encode(frame)
    assert c_encode(codec, frame) == wire
    assert c_read(codec, wire) == ([frame], 0)
    assert Decoder().feed(wire) == [frame]
    assert wire.count(0) == 2
    assert len(wire) <= MAX_ENCODED + 2


@given(st.binary(max_size=700), FRAMES)
def test_garbage_is_counted_and_the_next_frame_is_read(codec: ctypes.CDLL, garbage: bytes, frame: Frame) -> None:
    frames, _ = c_read(codec, garbage + encode(frame))
    assert frames[-1:] == [frame]
    assert [item for item in Decoder().feed(garbage + encode(frame)) if isinstance(item, Frame)][-1:] == [frame]


@given(FRAMES, st.data())
def test_no_damaged_frame_passes(codec: ctypes.CDLL, frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(encode(frame))
    at = data.draw(st.integers(1, len(wire) - 2))
    kind = data.draw(st.sampled_from(["flip", "drop", "double", "cut"]))
    if kind == "flip":
        wire[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "drop":
        del wire[at]
    elif kind == "double":
        wire.insert(at, wire[at])
    else:
        del wire[at:-1]
    if bytes(wire) == encode(frame):
        return
    frames, damaged = c_read(codec, bytes(wire))
    assert frame not in frames or kind == "double"
    assert not [item for item in Decoder().feed(bytes(wire)) if isinstance(item, Frame) and item != frame]
    assert damaged or not frames


@given(st.binary(max_size=600))
def test_stuffing_agrees_with_the_library(codec: ctypes.CDLL, data: bytes) -> None:
    out = ctypes.create_string_buffer(len(data) + len(data) // 254 + 2)
    source = (ctypes.c_uint8 * max(1, len(data))).from_buffer_copy(data or b"\0")
    size = codec.cobs_encode(source, len(data), out)
    assert cobs.decode(out.raw[:size]) == data
    assert codec.cobs_decode(out, size) == len(data)
    assert out.raw[: len(data)] == data


@given(st.binary(max_size=300))
def test_a_block_that_the_library_refuses_is_refused(codec: ctypes.CDLL, data: bytes) -> None:
    buffer = ctypes.create_string_buffer(data + b"\xaa" * 8)
    size = codec.cobs_decode(buffer, len(data))
    try:
        expected = cobs.decode(data) if data else b""
    except cobs.DecodeError:
        assert size < 0
        return
    assert buffer.raw[:size] == expected
    assert buffer.raw[len(data) : len(data) + 8] == b"\xaa" * 8


@given(st.binary(max_size=200), st.integers(0, 200))
def test_crc_agrees_with_the_library_also_in_two_parts(codec: ctypes.CDLL, data: bytes, cut: int) -> None:
    codec.crc32c_extend.restype = ctypes.c_uint32
    first = codec.crc32c_extend(0, data[:cut], len(data[:cut]))
    assert codec.crc32c_extend(first, data[cut:], len(data[cut:])) == google_crc32c.value(data)


@given(st.lists(st.one_of(FRAMES, st.text("abc äöü\t", min_size=1, max_size=40)), max_size=8), st.data())
def test_text_between_frames_is_given_out_whole_however_the_bytes_arrive(
    items: list[Frame | str], data: st.DataObject
) -> None:
    wire = b"".join(encode(item) if isinstance(item, Frame) else item.encode() + b"\r\n" for item in items)
    decoder, out, at = Decoder(), [], 0
    while at < len(wire):
        size = data.draw(st.integers(1, 100))
        out += decoder.feed(wire[at : at + size])
        at += size
    out += decoder.flush()
    assert out == [item if isinstance(item, Frame) else Text(item) for item in items]
    assert decoder.damaged == 0


def test_text_that_runs_into_a_frame_is_kept() -> None:
    frame = Frame(Type.PING, b"12345678")
    wire = b"booting\nlogin: " + encode(frame) + b"trap at 0x80000000\n"
    assert Decoder().feed(wire) == [Text("booting"), Text("login: "), frame, Text("trap at 0x80000000")]


def test_a_line_without_end_is_bounded() -> None:
    decoder = Decoder()
    out = [item for _ in range(100) for item in decoder.feed(b"x" * 100)]
    assert len(decoder.pending) <= 4200
    assert sum(len(item.line) for item in out if isinstance(item, Text)) + len(decoder.pending) == 10_000


def test_binary_noise_is_damaged_not_text() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\0\xff\xfe\x80\x81\0") == [Damaged(b"\xff\xfe\x80\x81")]
    assert decoder.damaged == 1


def test_an_overlong_segment_does_not_hide_the_next_frame(codec: ctypes.CDLL) -> None:
    frame = Frame(Type.PING, b"12345678")
    assert c_read(codec, b"\1\1" + b"\1" * 2000 + encode(frame)) == ([frame], 1)


def test_a_payload_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="513"):
        encode(Frame(1, bytes(513)))


def test_a_frame_whose_length_contradicts_its_size_is_refused(codec: ctypes.CDLL) -> None:
    raw = header.Frame.build(
        {"version": 1, "type": 8, "channel": 0, "flags": 0, "epoch": 0, "seq": 0, "ack": 0, "credit": 0, "length": 9}
    ) + bytes(8)
    segment = cobs.encode(raw + google_crc32c.value(raw).to_bytes(4, "little"))
    assert decode(segment) is None
    assert c_read(codec, segment + b"\0") == ([], 1)


@given(
    st.lists(st.tuples(st.sampled_from(["push", "drop", "keep"]), st.integers(0, 2), st.integers(0, 400)), max_size=40)
)
def test_pending_tokens_are_a_queue_a_session(codec: ctypes.CDLL, steps: list[tuple[str, int, int]]) -> None:
    codec.pending_init()
    queues: list[list[int]] = [[], [], []]
    value = 0
    for what, session, amount in steps:
        queue = queues[session]
        if what == "push":
            for _ in range(amount):
                value += 1
                assert codec.pending_push(session, value) == 0
                queue.append(value)
        elif what == "drop":
            amount = min(amount, len(queue))
            codec.pending_drop(session, amount)
            del queue[:amount]
        else:
            codec.pending_keep(session, amount)
            del queue[amount:]
        for number, expected in enumerate(queues):
            out = (ctypes.c_uint32 * 20000)()
            assert codec.pending_count(number) == len(expected)
            assert list(out[: codec.pending_copy(number, out, 20000)]) == expected
    held = sum(map(len, queues))
    assert codec.pending_room(0) <= 16384 - held
    for session in range(3):
        codec.pending_keep(session, 0)
    assert codec.pending_room(0) == 16384


def test_the_pending_pool_is_bounded(codec: ctypes.CDLL) -> None:
    codec.pending_init()
    assert all(codec.pending_push(0, token) == 0 for token in range(16384))
    assert codec.pending_push(0, 1) < 0
    assert codec.pending_push(1, 1) < 0
    codec.pending_drop(0, 64)
    assert codec.pending_push(1, 1) == 0
