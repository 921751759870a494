# SPDX-License-Identifier: Apache-2.0
"""The line that breaks on purpose: each kind of fault, its timing, and that a seed gives the same again."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from host.faults import KINDS, BrokenStream, Faults, Kind, Way
from host.faults.__main__ import parse
from host.faults.pty_line import PtyLine

DATA = random.Random(1).randbytes(20_000)


def send(way: Way, data: bytes, step: int = 50, pause: float = 0.01) -> tuple[bytes, float]:
    """What comes out when data are put in piece by piece, and when the last of it does."""
    now, out = 0.0, b""
    for first in range(0, len(data), step):
        way.put(data[first : first + step], now)
        now += pause
        out += way.take(now)
    while (due := way.due) is not None:
        now = max(now, due)
        out += way.take(now)
    return out, now


def test_a_good_way_changes_nothing() -> None:
    assert send(Way(), DATA)[0] == DATA


def test_a_seed_gives_the_same_again() -> None:
    runs = [send(Way(Faults(seed, 100)), DATA) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_every_kind_happens_about_once_in_a_gap() -> None:
    way = Way(Faults(1, 50))
    send(way, DATA * 2)
    assert set(way.counts) == set(KINDS)
    assert 600 < way.counts.total() < 1000


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_does_what_it_says(kind: Kind) -> None:
    way = Way(Faults(3, 2000, (kind,)))
    out, end = send(way, DATA)
    count = way.counts[kind]
    assert count > 3
    if kind == Kind.FLIP:
        different = [a ^ b for a, b in zip(out, DATA, strict=True) if a != b]
        assert len(different) == count
        assert all(bits.bit_count() == 1 for bits in different)
    elif kind == Kind.LOSE:
        assert len(out) == len(DATA) - count
    elif kind == Kind.DOUBLE:
        assert len(out) == len(DATA) + count
        assert [byte for byte, _ in itertools.groupby(out)] == [byte for byte, _ in itertools.groupby(DATA)]
    elif kind == Kind.REORDER:
        assert out != DATA
        assert Counter(out) == Counter(DATA)
    elif kind == Kind.DELAY:
        assert out == DATA
        assert end > send(Way(), DATA)[1] - 1e-9
    elif kind == Kind.BURST:
        assert len(out) == len(DATA)
        assert count < way.noise <= count * 202
    elif kind == Kind.TEXT:
        assert len(out) > len(DATA) + 5 * count
        assert b"U-Boot" in out or b"login" in out or b"OpenSBI" in out or b"Linux" in out
    elif kind == Kind.STUCK:
        assert len(out) < len(DATA)
    else:
        assert len(out) == len(DATA)
        assert way.noise > 10 * count


def test_a_delay_makes_bytes_late_and_keeps_their_order() -> None:
    way = Way(Faults(1, 5, (Kind.DELAY,)))
    way.put(DATA[:100], 0.0)
    way.put(DATA[100:200], 0.0)
    assert way.take(0.0) == b""
    due = way.due
    assert due is not None
    assert due > 0
    assert way.take(10.0) == DATA[:200]


def test_a_line_at_115200_takes_its_time() -> None:
    """10 bits a byte, handed on by FIFOs of 16 bytes."""
    way = Way(baud=115200)
    way.put(DATA[:1152], 5.0)
    assert way.take(5.0) == b""
    assert way.take(5.0 + 17 * 10 / 115200) == DATA[:16]
    assert len(way.take(5.05 + 1e-9)) == 576 - 16
    assert way.take(5.09) + way.take(5.1 + 1e-9) == DATA[576:1152]


def test_garbled_bytes_are_counted() -> None:
    way = Way()
    way.garble(0.2, 1.0)
    for first, at in enumerate((0.1, 0.5, 1.0)):
        way.put(DATA[100 * first : 100 * first + 100], at)
    out = way.take(2.0)
    assert out[:100] == DATA[:100]
    assert out[100:200] != DATA[100:200]
    assert out[200:] == DATA[200:300]
    assert way.noise == 100


class Loop:
    """A stream that gives back what it gets."""

    description = "loop"

    def __init__(self) -> None:
        self.held = b""
        self.closed = False

    def read(self, _timeout: float) -> bytes:
        data, self.held = self.held, b""
        return data

    def write(self, data: bytes) -> None:
        self.held += data

    def close(self) -> None:
        self.closed = True


def test_a_stream_is_broken_both_ways() -> None:
    loop = Loop()
    good = BrokenStream(loop)
    good.write(DATA[:500])
    assert good.read(1.0) == DATA[:500]
    bad = BrokenStream(loop, seed=1, gap=50)
    bad.write(DATA[:2000])
    got = b"".join(bad.read(0.01) for _ in range(60))
    assert got != DATA[:2000]
    assert len(got) > 1000
    assert bad.to_device.counts.total() > 10
    assert bad.counts.total() > bad.to_device.counts.total()
    bad.close()
    assert loop.closed


@pytest.mark.parametrize("options", [["--gap", "0"], ["--baud", "-1"]])
def test_a_line_that_cannot_be_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(options)
    assert "--gap is at least 1, --baud not below 0" in capsys.readouterr().err


@pytest.mark.timeout(30)
def test_a_serial_device_that_nobody_reads_can_be_ended() -> None:
    loop = Loop()
    line = PtyLine(loop)
    looks = itertools.count()

    def stopped() -> bool:
        loop.held = bytes(4096)
        return next(looks) > 100

    line.run(stopped)
    line.close()
    assert loop.closed
