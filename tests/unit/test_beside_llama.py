# SPDX-License-Identifier: Apache-2.0
"""Native beside llama.cpp: the arithmetic by hand, without llama.cpp; what is said where it is missing or crashes."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.compiler.compile import Options
from host.errors import TargetError, UsageError
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Layout
from tests.support.tiny import tiny_image, tiny_llama
from tools.bench.beside import memory
from tools.bench.beside.costs import Cost, Pass, Spent, in_turns, turn
from tools.bench.beside.llama_child import answer
from tools.bench.beside.ours import open_ours
from tools.bench.beside.processors import Others, busy_seconds, processor_seconds
from tools.bench.beside.theirs import check_installed, open_theirs
from tools.bench.targets.native import Found, rows_of


class Script:
    """A side whose n-th turn takes ``n + 1`` times as long as a formula says."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, prompt: int, generate: int) -> Spent:
        slow = self.runs // 3 + 1
        self.runs += 1
        first, step = 0.5 * prompt, 2.0
        return Spent(slow * (1 + first + step * (generate - 1)), slow * first, slow * (first + step * (generate - 1)))


def test_a_turn_takes_the_fixed_costs_off() -> None:
    assert turn(Script(), 10, 4) == Cost(cpu_prefill=0.6, cpu_decode=2.0, wall_prefill=0.5, wall_decode=2.0)


def test_medians_leave_the_first_turn_out() -> None:
    reads: Iterator[float] = iter([9.0, 1.0, 3.0, 2.0])
    ours, theirs, read = in_turns(Script(), Script(), lambda: Pass(next(reads), 1.0), 10, 4, 3)
    assert ours == theirs == Cost(pytest.approx(1.8), 6.0, 1.5, 6.0)  # the turns 2, 3 and 4
    assert read == Pass(2.0, 1.0)


def found(threads: int, ours: float, theirs: float, read: float) -> Found:
    """Decode as given, by both clocks; one of them is made wrong, so that a row of it is seen."""
    wall = threads > 1

    def cost(seconds: float) -> Cost:
        return Cost(1.0 if wall else 0.1, 99.0 if wall else seconds, 0.1 if wall else 1.0, seconds if wall else 99.0)

    return Found("Q8_0", threads, cost(ours), cost(theirs), Pass(99.0 if wall else read, read if wall else 99.0))


def test_one_thread_is_compared_by_processor_time() -> None:
    prefill, decode = rows_of(found(1, 0.020, 0.026, 0.010))
    assert (prefill.found, prefill.met) == (1.0, False)
    assert (decode.found, decode.target, decode.met) == (pytest.approx(1.3), 1.25, True)
    assert "CPU time" in decode.what
    assert "20.00 ms of 26.00" in decode.note
    assert "50% of our time" in decode.note


def test_one_thread_at_the_bound_must_be_faster_all_the_same() -> None:
    assert [row.met for row in rows_of(found(1, 0.020, 0.022, 0.019))] == [False, False]


@pytest.mark.parametrize(
    ("theirs", "read", "value", "target", "met"),
    [
        (0.026, 0.010, 1.3, 1.25, True),
        (0.022, 0.019, 0.95, 0.9, True),
        (0.022, 0.017, 1.1, 1.25, False),
    ],
)
def test_two_threads_are_fast_or_at_the_bound(
    theirs: float, read: float, value: float, target: float, met: bool
) -> None:
    _, decode = rows_of(found(2, 0.020, theirs, read))
    assert (decode.found, decode.target, decode.met) == (pytest.approx(value), target, met)
    assert "wall" in decode.what


def test_passes_are_read_without_the_first() -> None:
    assert memory.parse_passes("9 9\n0.5 0.1\n0.7 0.3\n0.6 0.2\n") == Pass(cpu=0.2, wall=0.6)


def test_read_loop(tmp_path: Path) -> None:
    """It reads all that it is told to: no machine reads 32 MB in under 20 microseconds."""
    assert memory.read_once(memory.build_read_loop(tmp_path), 32 << 20, 2).wall > 20e-6


def test_busy_seconds() -> None:
    tick = os.sysconf("SC_CLK_TCK")
    assert busy_seconds(f"cpu  {tick} 0 {2 * tick} 500 700 0 {tick} {tick} 0 0\ncpu0 1\n") == 5.0


def test_own_time_is_not_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, own, clock = iter([10.0, 12.0]), iter([1.0, 1.5]), iter([100.0, 110.0])
    monkeypatch.setattr(Others, "_machine", lambda _: next(machine))
    monkeypatch.setattr(Others, "_ours", lambda _: next(own))
    monkeypatch.setattr("tools.bench.beside.processors.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert Others([]).share() == pytest.approx(1.5 / 20)


def test_a_process_spends_its_own_time() -> None:
    before, clock = processor_seconds(os.getpid()), time.process_time()
    sum(range(200_000))
    assert processor_seconds(os.getpid()) - before == pytest.approx(time.process_time() - clock, abs=0.05)


class Server:
    """xllamacpp's server with one answer for all."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.result = result

    def handle_completions(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert (asked["temperature"], asked["top_k"], asked["cache_prompt"]) == (0.0, 1, False)
        return self.result


def test_child_takes_the_servers_timings() -> None:
    timings = {"prompt_n": 2, "predicted_n": 3, "prompt_ms": 10.0, "predicted_ms": 30.0}
    said = answer(Server({"timings": timings}), [1, 2], 3)
    assert (said["first"], said["total"]) == (0.010, pytest.approx(0.040))
    assert said["cpu"] >= 0


@pytest.mark.parametrize("timings", [None, {"prompt_n": 2, "predicted_n": 1}, {"prompt_n": 0, "predicted_n": 3}])
def test_child_tells_of_a_short_answer(timings: dict[str, int] | None) -> None:
    assert "2 and 3 tokens asked for" in answer(Server({"timings": timings}), [1, 2], 3)["error"]


def child(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys\n{code}"]


HELLO = 'print(\'{"version": "1", "system": "AVX2 = 1"}\', flush=True)\n'


def test_a_crash_is_an_error_in_words() -> None:
    dies = "sys.stderr.write('no such instruction\\n'); sys.stderr.flush()\nos.kill(os.getpid(), 4)"
    with open_theirs(Path("x.gguf"), 1, 100, child(f"{HELLO}sys.stdin.readline()\n{dies}")) as theirs:
        assert theirs.system == "AVX2 = 1"
        with pytest.raises(TargetError, match=r"ended by signal 4; its last words:\nno such instruction"):
            theirs.run(2, 3)


def test_an_end_at_once_is_an_error_in_words() -> None:
    with (
        pytest.raises(TargetError, match="ended with 3; its last words:\nno such file"),
        open_theirs(Path("x.gguf"), 1, 100, child("sys.exit(sys.stderr.write('no such file') and 3)")),
    ):
        pass


def test_an_error_of_the_child_is_told() -> None:
    code = f'{HELLO}sys.stdin.readline()\nprint(\'{{"error": "too long"}}\', flush=True)\nsys.stdin.read()'
    with (
        open_theirs(Path("x.gguf"), 1, 100, child(code)) as theirs,
        pytest.raises(TargetError, match="did not do as told: too long"),
    ):
        theirs.run(2, 3)


def test_missing_package_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UsageError, match=r"pip install xllamacpp==20\d\d\.\d+\.\d+"):
        check_installed()
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.0")
    with pytest.raises(UsageError, match=r"xllamacpp 1\.0 is installed"):
        check_installed()


@pytest.mark.slow
def test_our_side(tmp_path: Path) -> None:
    path = tmp_path / "tiny.hsp"
    tiny_image(path, tiny_llama(), Options(weights=Q8, kv=Format.KV8, layout=Layout.RVV, context=256))
    with open_ours(path, 2) as ours:
        spent = ours.run(64, 8)
    assert 0 < spent.first < spent.total
    assert spent.cpu > 0
