# SPDX-License-Identifier: Apache-2.0
"""A cable that is pulled out and plugged in again, at a device that ran on or that had its power from it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from serial.tools.list_ports_common import ListPortInfo

from host import cli
from host.compiler.compile import Options
from host.errors import TargetError
from host.image.reader import Image
from host.link import attach
from host.schema.wire.answers import Reason
from host.talk import opening
from host.talk.opening import LoadedModel, OpenOptions, open_model
from host.targets import serial_line
from tests.support.cable import Cable
from tests.support.fake_device import FakeDevice
from tests.support.tiny import tiny_image, tiny_llama

Plug = Callable[..., Cable]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "tiny.hsp"
    tiny_image(path, tiny_llama(), Options(context=256))
    return path


@pytest.fixture(autouse=True)
def _short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """No boot loader speaks here."""
    monkeypatch.setattr(attach, "LOADER_SECONDS", 0.3)


@pytest.fixture
def plug(image: Path, tmp_path: Path) -> Iterator[Plug]:
    cables: list[Cable] = []

    def start(cut_at: int = -1, at_once: bool = False, **settings: object) -> Cable:
        device = FakeDevice(**{"root": Image(image).root, "vocab": 131, **settings})
        cables.append(Cable(tmp_path / "ttyUSB0", device, cut_at, at_once))
        return cables[-1]

    yield start
    for cable in cables:
        cable.close()


def opened(image: Path, cable: Cable, heard: Callable[[str], None]) -> AbstractContextManager[LoadedModel]:
    return open_model(str(image), f"serial:{cable.path}", OpenOptions(console=heard), restore=True)


def test_an_answer_that_the_device_went_on_with_is_taken_up(image: Path, plug: Plug, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.touch()
    cable = plug(cut_at=10, step_us=2_000, step_hold=held, hold_at=30)
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        if "is awaited for 60 s" in line:
            cable.plug()
        if "goes on" in line:
            held.unlink()

    with opened(image, cable, hear) as device:
        client = device.client
        client.prompt([3, 4, 5])
        run = client.generate(60)
        assert [token.id for token in run] == list(range(6, 66))
        assert run.done is not None
        assert (run.done.generated, run.done.evaluated, run.done.length) == (60, 3, 63)
        assert [token.id for token in client.generate(2)] == [66, 67]
    assert not any("restored" in line for line in lines)
    assert sum("went away" in line for line in lines) == cable.cuts == 1


def test_an_answer_that_was_cut_off_with_the_power_is_asked_for_again(image: Path, plug: Plug) -> None:
    cable = plug(cut_at=10, step_us=2_000)
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        if "is awaited for" in line:
            cable.plug(power_cycle=True)

    with opened(image, cable, hear) as device:
        device.client.prompt([3, 4, 5])
        run = device.client.generate(60)
        assert [token.id for token in run] == list(range(6, 66))
        assert run.done is not None
        assert (run.done.generated, run.done.reason) == (60, Reason.LENGTH)
    assert any("restarted; its sessions are restored" in line for line in lines)


@pytest.mark.parametrize("power_cycle", [False, True])
def test_between_two_questions_only_what_the_device_has_lost_is_said_again(
    image: Path, plug: Plug, power_cycle: bool
) -> None:
    cable = plug()
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        if "is awaited for" in line:
            cable.plug(power_cycle)

    with opened(image, cable, hear) as device:
        client = device.client
        client.prompt(range(3, 43))
        assert [token.id for token in client.generate(2)] == [43, 44]
        cable.unplug()
        assert client.prompt([50]) == 43
        run = client.generate(1)
        assert [token.id for token in run] == [51]
        assert run.done is not None
        assert run.done.evaluated == (43 if power_cycle else 2)
    said = "restarted; its sessions are restored" if power_cycle else "is back; its sessions are as they were"
    assert any(said in line for line in lines)


def test_an_answer_is_ended_though_the_cable_was_out_when_it_was_asked(image: Path, plug: Plug, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.touch()
    cable = plug(step_hold=held, hold_at=30)
    with opened(image, cable, lambda line: cable.plug() if "is awaited for" in line else None) as device:
        client = device.client
        client.prompt([3])
        run = client.generate(200)
        next(run)
        cable.unplug()
        done = run.cancel()
        assert (done.reason, done.length) == (Reason.CANCELLED, 31)
        assert run.tokens == list(range(4, 4 + done.generated))
        assert client.truncate(0) == 0


def test_an_adapter_that_comes_back_under_another_name_is_found(
    image: Path, plug: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    cable = plug()
    old, other, new = (ListPortInfo(name) for name in (os.path.realpath(cable.path), "/dev/ttyUSB7", "?"))
    for port, location in ((old, "1-1"), (other, "1-2"), (new, "1-1")):
        port.vid, port.hwid = 0x1A86, f"USB VID:PID=1A86:7523 LOCATION={location}"
    ports = [other, old]
    monkeypatch.setattr(serial_line, "comports", lambda: ports)

    def plug_elsewhere(line: str) -> None:
        if "is awaited for" in line:
            cable.path = cable.path.with_name("ttyUSB1")
            cable.plug()
            new.device = str(cable.path)
            ports[:] = [other, new]

    with opened(image, cable, plug_elsewhere) as device:
        cable.unplug()
        assert device.client.truncate(0) == 0
        assert device.client.stream.description == f"{cable.path} at 115200"


def test_ctrl_c_ends_the_wait(image: Path, plug: Plug) -> None:
    cable = plug()
    with opened(image, cable, lambda _line: None) as device:
        cable.unplug()
        device.client.line.console = lambda _line: setattr(device.client.line, "interrupted", True)
        with pytest.raises(TargetError, match="plugged in"):
            device.client.truncate(0)


def test_a_cable_that_stays_out_is_given_up(image: Path, plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "AWAY_SECONDS", 0.3)
    cable = plug()
    with opened(image, cable, lambda _line: None) as device:
        cable.unplug()
        with pytest.raises(TargetError, match="No such file"):
            device.client.truncate(0)


@pytest.mark.parametrize("command", [("run", "--raw", "-p", "abc"), ("chat",)])
def test_commands_lose_no_character(
    image: Path,
    plug: Plug,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    cable = plug(cut_at=5, at_once=True, step_us=2_000)
    words = ["host", command[0], str(image), *command[1:], "-t", f"serial:{cable.path}", "--max-tokens", "20"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(sys, "stdin", io.StringIO("hi\n/reset\nhi\n"))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert ended.value.code in (0, None)
    assert out == ("defghijklmnopqrstuvw\n" if command[0] == "run" else "!\"#$%&'()*+,-./01234\n" * 2)
    assert "went away" in err
    assert "the answer goes on" in err
    assert cable.cuts == 1
