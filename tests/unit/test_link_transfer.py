# SPDX-License-Identifier: Apache-2.0
"""Images and session states over the link, with the real engine on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from host.compiler.compile import Options
from host.errors import DeviceFailure, UsageError
from host.faults.pty_line import PtyLine
from host.image.reader import Image
from host.link.client import Client
from host.link.transfer import SavedSession, restore_session, save_session, send_image
from host.pytest_device import Device
from host.schema.wire.constants import SUM_BYTES
from host.schema.wire.hello import DeviceState
from host.schema.wire.requests import Space
from host.targets import open_target, parse_spec
from host.targets.hooks import Hooks
from host.targets.process import ProcessTarget
from tests.support.hosted import native_program
from tests.support.tiny import tiny_image, tiny_llama


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "tiny.hsp"
    tiny_image(path, tiny_llama(), Options(context=512))
    return path


@pytest.fixture
def empty(image: Path) -> Iterator[ProcessTarget]:
    """A device without an image, that has room for one."""
    open_target("native", image).close()  # builds it
    program = native_program()
    stream = ProcessTarget(lambda _: [str(program), "--image-area", "4M", "--arena-size", "64M"], "native")
    yield stream
    stream.close()


@pytest.fixture
def client(empty: ProcessTarget) -> Client:
    client = Client(empty, patience=20)
    client.connect()
    return client


def test_an_image_comes_over_the_link_and_answers(client: Client, image: Path) -> None:
    assert (client.info.state, client.info.error) == (DeviceState.NO_MODEL, 1)
    info, sent = send_image(client, image)
    assert info.state == DeviceState.READY
    assert info.root.hex() == Image(image).root
    assert sent == image.stat().st_size
    client.prompt([3, 4, 5])
    assert len(list(client.generate(4))) == 4


def test_a_board_that_a_test_runs_on_gets_the_image(empty: ProcessTarget, image: Path) -> None:
    line, ended = PtyLine(empty), threading.Event()
    thread = threading.Thread(target=line.run, args=(ended.is_set,))
    thread.start()
    board = Device(parse_spec(f"serial:{line.path}"), Hooks())
    try:
        assert board.connect(image).info.root.hex() == Image(image).root
        client = board.connect(image)  # it is there
        client.prompt([3, 4, 5])
        assert len(list(client.generate(4))) == 4
    finally:
        board.close()
        ended.set()
        thread.join()
        line.close()


def test_a_test_does_not_wait_hours_for_its_image(client: Client, image: Path) -> None:
    board = Device(parse_spec("serial:/dev/ttyUSB0"), Hooks())
    fast, slow = (replace(client.info, baud=baud) for baud in (115200, 1200))
    assert board._unsendable(fast, image) == ""
    assert "minutes over the line; flash it" in board._unsendable(slow, image)
    assert "runs image 00000000, not tiny.hsp" in board._unsendable(replace(fast, image_area=1000), image)


def test_only_what_is_not_there_is_sent(client: Client, image: Path) -> None:
    send_image(client, image)
    client.memory.unload()
    client.memory.await_ok(client.memory.send_write(Space.IMAGE, 0, SUM_BYTES + 100, b"spoilt"))
    info, sent = send_image(client, image)
    assert info.state == DeviceState.READY
    assert sent <= SUM_BYTES


def test_a_damaged_image_is_refused_after_the_transfer(client: Client, image: Path, tmp_path: Path) -> None:
    damaged = bytearray(image.read_bytes())
    damaged[-5000] ^= 1
    path = tmp_path / "damaged.hsp"
    path.write_bytes(damaged)
    with pytest.raises(DeviceFailure, match="IMAGE_HASH"):
        send_image(client, path)
    assert send_image(client, image)[0].state == DeviceState.READY


def test_an_image_in_use_is_not_written(client: Client, image: Path) -> None:
    send_image(client, image)
    with pytest.raises(DeviceFailure, match="LOADED"):
        client.memory.await_ok(client.memory.send_write(Space.IMAGE, 0, 0, b"x"))
    with pytest.raises(DeviceFailure, match="LOADED"):
        client.memory.load()


@pytest.mark.parametrize(
    ("space", "session", "offset", "error"),
    [
        (Space.IMAGE, 0, 4 << 20, "RANGE"),
        (Space.IMAGE, 0, (1 << 64) - 2, "RANGE"),
        (Space.SESSION, 9, 0, "SESSION"),
        (Space.SESSION, 0, 1 << 40, "RANGE"),
        (7, 0, 0, "PARAMETER"),
    ],
)
def test_bytes_outside_are_refused(
    client: Client, image: Path, space: Space, session: int, offset: int, error: str
) -> None:
    send_image(client, image)
    with pytest.raises(DeviceFailure, match=error):
        client.memory.await_data(client.memory.send_read(space, session, offset, 4))
    with pytest.raises(DeviceFailure, match=error):
        client.memory.checksum(space, session, offset, 4)


def test_a_session_goes_out_and_in_and_on_as_it_was(client: Client, image: Path) -> None:
    send_image(client, image)
    client.prompt([3 + i % 100 for i in range(150)])
    before = [(token.id, token.digest) for token in client.generate(5, digest=True)]
    saved = save_session(client)
    assert (saved.length, len(saved.pending), saved.pending[0]) == (154, 1, before[-1][0])
    after = [(token.id, token.digest) for token in client.generate(20, digest=True)]
    client.truncate(0)
    client.prompt([9, 9, 9])
    client.generate(3).finish()
    saved = SavedSession.decode(saved.encode(), "saved")
    restore_session(client, saved)
    assert client.length() == 155
    assert [(token.id, token.digest) for token in client.generate(20, digest=True)] == after


def test_an_interrupted_save_goes_on(client: Client, image: Path, tmp_path: Path) -> None:
    send_image(client, image)
    client.prompt([3 + i % 100 for i in range(400)])
    client.generate(1).finish()
    part = tmp_path / "session.part"

    class Interrupted(Exception):
        pass

    def stop(_done: int, _total: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        save_session(client, partial=part, progress=stop)
    assert len(part.read_bytes()) == SUM_BYTES
    whole = save_session(client, partial=part)
    assert whole == save_session(client)


def test_tokens_beyond_the_vocabulary_do_not_get_into_a_session(client: Client, image: Path) -> None:
    send_image(client, image)
    client.sessions.adopt(0, 10, 10)
    with pytest.raises(DeviceFailure, match="TOKEN"):
        client.memory.await_ok(client.memory.send_write(Space.SESSION, 0, 0, (1 << 30).to_bytes(4, "little")))
    with pytest.raises(DeviceFailure, match="RANGE"):
        client.memory.await_ok(client.memory.send_write(Space.SESSION, 0, 1, bytes(4)))
    with pytest.raises(DeviceFailure, match="CONTEXT_FULL"):
        client.sessions.adopt(0, 513, 513)
    with pytest.raises(DeviceFailure, match="CONTEXT_FULL"):
        client.sessions.adopt(0, 5, 4)


def test_a_session_of_another_image_or_a_damaged_file_is_refused(client: Client, image: Path) -> None:
    send_image(client, image)
    saved = SavedSession(b"\1" * 32, 0, 0, (), b"")
    with pytest.raises(UsageError, match="01010101"):
        restore_session(client, saved)
    data = bytearray(SavedSession(b"\1" * 32, 1, 1, (5,), b"abc").encode())
    data[-1] ^= 1
    with pytest.raises(UsageError, match="damaged"):
        SavedSession.decode(bytes(data), "file")
    with pytest.raises(UsageError, match="no session file"):
        SavedSession.decode(b"hello", "file")
