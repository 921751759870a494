# SPDX-License-Identifier: Apache-2.0
"""What a session gives out was written by itself: nothing of another host, model or cancelled step."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from host.compiler.compile import Options
from host.errors import DeviceFailure
from host.schema.image import Format
from tests.support.native import Native
from tests.support.tiny import tiny_image, tiny_llama

TOKENS = [7 * k % 129 + 1 for k in range(150)]


@pytest.fixture(scope="module", params=[Format.KV8, Format.F32], ids=["int8", "f32"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("leaks") / "tiny.hsp"
    tiny_image(path, tiny_llama(), Options(kv=request.param, context=256, sessions=2))
    return path


def state(device: Native, session: int) -> tuple[bytes, bytes]:
    """The session as READ gives it out: its tokens, and its pages."""
    lib = device.lib
    found = bytearray()
    size = ctypes.c_uint64()
    while len(found) < lib.engine_state_bytes(device.engine, session):
        at = lib.engine_state_at(device.engine, session, len(found), ctypes.byref(size))
        found += ctypes.string_at(at, size.value)
    history = lib.engine_state_history_bytes(device.engine, session)
    return bytes(found[:history]), bytes(found[history:])


def adopt(device: Native, session: int, length: int) -> None:
    assert device.lib.engine_state_adopt(device.engine, session, length, length) == 0


@pytest.mark.parametrize("session", [0, 1])
def test_what_an_emptied_session_held_is_not_given_out(session: int, image: Path, native: Native) -> None:
    native.load(image)
    native.feed(TOKENS)
    assert any(state(native, 0)[1])
    native.truncate(0)
    adopt(native, session, len(TOKENS))
    assert not any(b"".join(state(native, session)))


def test_what_another_model_left_is_not_given_out(image: Path, native: Native) -> None:
    """The arena is not empty when a model comes: these tests fill it with 0xA5."""
    native.load(image)
    adopt(native, 1, 200)
    assert not any(b"".join(state(native, 1)))


def test_a_cancelled_step_leaves_no_tokens_of_others(image: Path, native: Native) -> None:
    native.load(image)
    native.feed(TOKENS)
    native.truncate(0)
    native.set_poll(lambda: 1)
    try:
        with pytest.raises(DeviceFailure):
            native.feed([5, 6, 7])
    finally:
        native.set_poll(None)
    assert native.lib.engine_high(native.engine, 0) == 3
    assert not any(state(native, 0)[0])


def test_what_was_rolled_back_is_not_given_out_by_whole_pages(image: Path, native: Native) -> None:
    """The page behind the last one that was kept comes back empty; the same tokens give the same logits."""
    native.load(image)
    logits = native.feed(TOKENS)
    native.truncate(64)
    native.set_poll(lambda: 1)
    try:
        with pytest.raises(DeviceFailure):
            native.feed(TOKENS[64:])
    finally:
        native.set_poll(None)
    assert native.length() == 64
    assert (native.feed(TOKENS[64:]) == logits).all()
