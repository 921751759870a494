# SPDX-License-Identifier: Apache-2.0
"""`host bench`: its arithmetic by hand, and the command on the native target."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from host import cli
from host.bench.bound import bound_seconds
from host.bench.measure import OpShare, Phase, Plan, Result, group_ops, percentiles
from host.bench.report import BAR_WIDTH, INDENT, _legend, stack
from host.bench.traffic import total_traffic, traffic_by_group
from host.boards import Roofline, load_board
from host.compiler.compile import Options
from host.image.reader import Image
from host.ir.program import Traffic
from host.link.records import DeviceStats, OpCost
from host.ops import OpId
from host.ops.attention import visible_positions
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Layout
from tests.support.tiny import tiny_image, tiny_llama


@pytest.fixture
def image(tmp_path: Path) -> Image:
    path = tmp_path / "tiny.hsp"
    tiny_image(path, tiny_llama(), Options(weights=Q8, kv=Format.KV8, layout=Layout.RVV, context=256))
    return Image(path)


def test_percentiles_are_interpolated() -> None:
    assert percentiles([float(i) for i in range(101)]) == {50: 50.0, 95: 95.0, 99: 99.0}
    assert percentiles([1.0, 2.0]) == {50: 1.5, 95: pytest.approx(1.95), 99: pytest.approx(1.99)}
    assert percentiles([]) == {}


@pytest.mark.parametrize(
    ("position", "window", "sinks", "seen"),
    [(0, 0, 0, 1), (99, 0, 0, 100), (7, 8, 0, 8), (8, 8, 0, 8), (8, 8, 4, 9), (99, 8, 4, 12)],
)
def test_visible_positions(position: int, window: int, sinks: int, seen: int) -> None:
    assert visible_positions(position, window, sinks) == seen


def test_traffic_of_a_decoded_token(image: Image) -> None:
    groups = traffic_by_group(image, 1, 9, 1, logits_each=True)
    matrices = {op.fields["weight"] for op in image.ops if op.id == OpId.LINEAR}
    linear = sum(traffic.weight_bytes for group, traffic in groups.items() if group.startswith("linear"))
    assert linear == sum(image.tensors[index].size for index in matrices)
    # 10 positions, two layers, two KV heads of 24 values and a scale, keys and values
    assert groups["attention"].kv_bytes == 10 * 2 * 2 * (24 + 4) * 2
    assert groups["attention"].macs == 10 * 2 * 4 * 24 * 2
    shapes = 2 * (192 * 96 + 96 * 96 + 320 * 96 + 96 * 160) + 131 * 96
    assert total_traffic(groups).macs == shapes + groups["attention"].macs


def test_a_prompt_shares_its_weights(image: Image) -> None:
    one = traffic_by_group(image, 1, 0, 1, logits_each=True)
    chunk = traffic_by_group(image, 32, 0, 16, logits_each=False)
    assert chunk["linear gate_up"].weight_bytes == one["linear gate_up"].weight_bytes * 2 / 32
    assert chunk["linear output"].weight_bytes == one["linear output"].weight_bytes / 32
    assert chunk["linear gate_up"].macs == one["linear gate_up"].macs
    assert chunk["embed"].weight_bytes == one["embed"].weight_bytes
    assert chunk["attention"].kv_bytes == one["attention"].kv_bytes * sum(range(1, 33)) / 32


def test_the_bound_is_the_slower_of_memory_and_arithmetic() -> None:
    roofline = Roofline(read_mb_s=1000, hart_mmac_s=500)
    assert bound_seconds(Traffic(90e6, 10e6, 1e6), roofline, 4) == pytest.approx(0.1)
    assert bound_seconds(Traffic(1e6, 0, 400e6), roofline, 4) == pytest.approx(0.2)


def test_only_boards_have_a_roofline() -> None:
    assert load_board("visionfive2").roofline is not None
    assert load_board("spike").roofline is None


def test_costs_are_grouped_by_token(image: Image) -> None:
    costs = [
        OpCost(op.id, op.fields["weight"] if op.id == OpId.LINEAR else 0xFFFFFFFF, 4, 400, 800) for op in image.ops
    ]
    phase = Phase(4, instret=1e6, cycles=2e6)
    shares = group_ops(image, DeviceStats(costs, 0, 0, 0, 0, 0, 0), 4, phase)
    assert shares["attention"] == OpShare(200.0, 400.0)
    assert shares["linear output"] == OpShare(100.0, 200.0)
    assert sum(share.instret for share in shares.values()) == pytest.approx(1e6)
    assert list(shares)[-1] == "sampling, link"
    assert stack(Result(Plan(), phase, Phase(4, by_op=shares)))[0].startswith("M instructions")


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["host", "bench", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_command_prints_json(image: Image, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, image.path, "-p", 8, "-n", 4, "-r", 2, "-d", 5, "--ops", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["ttft"]) == len(facts["decode"]["seconds"]) == 2
    assert facts["tpot"]["p50"] <= facts["tpot"]["p99"]
    assert facts["decode"]["tokens_per_second"] > 0
    assert facts["decode"]["weight_bytes"] > 8 / 2 * facts["prefill"]["weight_bytes"]
    assert "bound_tokens_per_second" not in facts["decode"]


def test_command_prints_tables(
    image: Image, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, image.path, "-p", 4, "-n", 2, "-r", 1) == 0
    out = capsys.readouterr().out
    for words in ("pp 4", "tg 2", "tokens/s", "TTFT", "linear gate_up", "prefill █"):
        assert words in out


def test_command_draws_the_picture(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib").rcParams["svg.fonttype"] = "none"
    assert run(monkeypatch, image.path, "-p", 4, "-n", 2, "-r", 1, "--ops", "--plot", tmp_path / "a.svg") == 0
    drawn = (tmp_path / "a.svg").read_text()
    for words in ("prefill", "decode", "linear gate_up", "attention", "tiny"):
        assert words in drawn


@pytest.mark.parametrize(("words", "said"), [(("-n", 999), "positions"), (("--plot", "x.txt"), ".svg")])
def test_command_refuses(
    image: Image,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    said: str,
) -> None:
    assert run(monkeypatch, image.path, *words) == 2
    assert said in capsys.readouterr().err


def test_no_colour_stands_apart_from_its_name() -> None:
    names = ["linear output", "linear qkv", "linear down_proj", "linear gate_up", "linear o_proj", "norm", "x" * 99]
    lines = [line.plain for line in _legend(names)]
    assert len(lines) == 3
    assert all(len(line) <= len(INDENT) + BAR_WIDTH for line in lines[:-1])
    assert [entry.strip() for line in lines for entry in line.split("█") if entry.strip()] == names
    assert not any(line.endswith("█") for line in lines)
