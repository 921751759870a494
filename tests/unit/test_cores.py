# SPDX-License-Identifier: Apache-2.0
"""Core models: their files, a run of the smallest program on rvsim, and predictions by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from host.bench.measure import OpShare
from host.boards import load_board
from host.errors import UsageError
from host.ir.program import Traffic
from tools.bench.cores import Case, build, core_names, load_core, merge, simulate
from tools.bench.predict import Rates, predict
from tools.bench.targets.__main__ import part, part_names
from tools.bench.targets.row import Row


@pytest.mark.parametrize("name", core_names())
def test_core_files(name: str) -> None:
    core = load_core(name)
    board = load_board(core.board)
    assert core.models
    assert 1 in core.harts
    assert all(vlen == 0 for vlen in core.vlens) or "rvv" in board.isa
    if board.roofline:
        assert core.read_mb_s == board.roofline.read_mb_s


def test_settings_are_laid_over_each_other() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merge(base, {"a": {"b": 5}}) == {"a": {"b": 5, "c": 2}, "d": 3}
    assert base["a"] == {"b": 1, "c": 2}
    with pytest.raises(UsageError, match="'e'"):
        merge(base, {"a": {"e": 1}})
    with pytest.raises(UsageError, match="u74"):
        load_core("u75")


def test_linear_op_on_a_model(tmp_path: Path) -> None:
    """Bytes of the packed weights; nothing faster than the memory, and the cache faster than that; a shared barrier."""
    pytest.importorskip("rvsim")
    core, case = load_core("u74"), Case("q4", 64, 1, 256)
    cases = simulate(build(tmp_path, core, "scalar", 2, [case]), core, "in-order", 0, 2)
    found = {c.case.kernel: c for c in cases}
    assert list(found) == ["q4", "norm", "gelu", "read", "barrier"]
    linear = found["q4"]
    assert linear.case == case
    assert linear.bytes == 64 * 256 // 2 + 2 * 256 * 2
    assert linear.bytes / linear.warm_cycles > core.read_bytes > found["read"].bytes_a_cycle > linear.bytes_a_cycle
    assert 0 < found["barrier"].warm_cycles < linear.warm_cycles


def test_prediction_by_hand() -> None:
    """1 kHz, two harts: the output is bound by memory, qkv by instructions; the norm is one hart's."""
    rates = Rates(
        clock_hz=1000, harts=2, read=2.0, bytes_a_cycle={"q4": 1.0}, linear={"q4": 0.5}, norm=2.0, other=3.0,
        activation=4.0, barrier=10.0,
    )  # fmt: skip
    costs = {"linear output": OpShare(400, 0), "linear qkv": OpShare(2000, 0)}
    costs |= {"norm": OpShare(100, 0), "attention": OpShare(100, 0), "sampling": OpShare(10, 0)}
    traffic = {"linear output": Traffic(weight_bytes=300), "linear qkv": Traffic(weight_bytes=100)}
    found = predict(costs, traffic, {"linear output": "q4", "linear qkv": "q4"}, 50, 7, rates)
    seconds = {share.group: share.seconds for share in found.shares}
    expected = {"linear output": 0.3, "linear qkv": 0.5, "norm": 0.2, "attention": 0.15, "sampling": 0.03}
    assert seconds == pytest.approx(expected)
    assert found.activation_seconds == pytest.approx(0.1)
    assert found.barrier_seconds == pytest.approx(0.07)
    assert found.tokens_per_second == pytest.approx(1 / 1.35)
    assert found.bound_seconds == pytest.approx(0.2)


def test_targets_are_met_or_not() -> None:
    assert Row("a", 0.2, 0.2).met
    assert not Row("a", 0.21, 0.2).met
    assert Row("a", 17.0, 17.0, at_least=True).met
    assert not Row("a", 16.9, 17.0, at_least=True).met
    assert Row("a", 1.0).met is None


@pytest.mark.parametrize("name", part_names())
def test_every_file_of_targets_is_a_part(name: str) -> None:
    assert callable(part(name))
