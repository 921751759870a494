# SPDX-License-Identifier: Apache-2.0
"""Answers over a broken or slow line are those of a good one; a board's reset as a command; the soak."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host.faults import BrokenStream
from host.link.client import Client
from host.link.records import SamplerParams
from host.pytest_device import Device
from host.targets import open_target
from host.targets.hooks import Hooks
from tools import soak

PARAMS = SamplerParams(temperature=1.2, seed=5)
Proxy = Callable[..., tuple[str, subprocess.Popen[str]]]


def answer(client: Client) -> list[tuple[int, int]]:
    client.truncate(0)
    client.prompt(range(3, 40))
    return [(token.id, token.digest) for token in client.generate(30, PARAMS, digest=True)]


@pytest.mark.targets("native", "qemu-virt:harts=1", "spike:scalar")
def test_an_answer_survives_a_broken_line(device: Device, tiny: Path) -> None:
    expected = answer(device.connect(tiny))
    line = BrokenStream(device.start(tiny), seed=3, gap=250)
    client = Client(line, patience=device.seconds(30))
    client.connect(timeout=device.seconds(30))
    assert answer(client) == expected
    assert line.counts.total() > 3


@pytest.fixture
def proxy(tiny: Path) -> Iterator[Proxy]:
    """A target behind a serial device of its own: a board as far as the host can tell."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> tuple[str, subprocess.Popen[str]]:
        command = [sys.executable, "-m", "host.faults", "--image", str(tiny), *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout
        return process.stdout.readline().strip(), process

    yield start
    for process in started:
        process.terminate()
        process.communicate()


def test_a_serial_device_at_115200_with_faults_and_a_reset_command(proxy: Proxy, tiny: Path) -> None:
    with open_target("native", tiny) as target:
        client = Client(target)
        client.connect()
        expected = answer(client)
    path, process = proxy("--baud", "115200", "--seed", "2", "--gap", "500")
    hooks = Hooks(path, reset_command=f"test {{target}} = {path} && kill -USR1 {process.pid}")
    for _ in range(2):  # the same device for one host after the other
        with open_target(f"serial:{path}@115200", None, hooks=hooks) as board:
            client = Client(board)
            client.connect()
            assert client.info.board == "native"
            assert answer(client) == expected
            board.reset()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "bit flipped" in said


def test_a_soak_of_20000_faults_meets_every_target(capsys: pytest.CaptureFixture[str]) -> None:
    failed = soak.main(["--faults", "20000", "--sessions", "80", "--gap", "150", "--bursts", "30"])
    said = capsys.readouterr().out
    assert not failed, said
    assert "| lost, doubled, altered or reordered tokens | 0 | 0 |" in said


def test_a_soak_finds_a_wrong_token(tiny: Path) -> None:
    """What it compares with is changed: it must say so."""
    batch = soak.Batch(tiny, seed=1, number=0, gap=1000)
    wrong = [[(token + 1, digest) for token, digest in turn] for turn in soak.fault_free(tiny, 0)]
    tally = soak.Tally()
    session = soak.Session(batch._line, soak.random.Random(1), tally, wrong)
    session.run(soak.make_scenario(0)[:1])
    batch._line.close()
    assert len(tally.wrong) == tally.tokens > 0
