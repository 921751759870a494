# SPDX-License-Identifier: Apache-2.0
"""A benchmark's result as plain data, as text and as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from host.bench.bound import bound_seconds
from host.bench.measure import Phase, Result, percentiles
from host.boards import Roofline
from host.errors import UsageError
from host.link.records import DeviceInfo
from host.output import begins_with, check_output, replacing

PICTURES = {".svg": (b"<?xml", b"<svg"), ".png": (b"\x89PNG",), ".pdf": (b"%PDF",)}
"""What is drawn, and how such files begin."""
COLOURS = ("blue", "cyan", "green", "yellow", "magenta", "red", "bright_blue", "bright_green", "white")
BAR_WIDTH = 60
INDENT = " " * len("prefill ")


def phase_facts(phase: Phase, roofline: Roofline | None, harts: int, measured: bool) -> dict[str, Any]:
    """One phase for ``--json``; the bound only with a roofline, the share of it only where time was a board's."""
    mean, deviation = phase.tokens_per_second
    facts: dict[str, Any] = {
        "tokens": phase.tokens,
        "tokens_per_second": mean,
        "tokens_per_second_deviation": deviation,
        "seconds": phase.seconds,
        "instructions": phase.instret,
        "cycles": phase.cycles,
        "weight_bytes": phase.total.weight_bytes,
        "kv_bytes": phase.total.kv_bytes,
        "macs": phase.total.macs,
        "by_op": {group: dataclasses.asdict(share) for group, share in phase.by_op.items()},
    }
    if roofline:
        bound = bound_seconds(phase.total, roofline, harts)
        facts["bound_tokens_per_second"] = 1 / bound
        if measured:
            facts["roofline_share"] = mean * bound
    return facts


def bench_facts(result: Result, info: DeviceInfo, roofline: Roofline | None, measured: bool) -> dict[str, Any]:
    """Everything, as plain data. measured: whether the device is a board, whose time is to be believed."""
    return {
        "device": dataclasses.asdict(info) | {"root": info.root.hex()},
        "plan": dataclasses.asdict(result.plan),
        "ttft": result.ttft,
        "tpot": {f"p{p}": value for p, value in percentiles(result.tpot).items()},
        "prefill": phase_facts(result.prefill, roofline, info.harts, measured),
        "decode": phase_facts(result.decode, roofline, info.harts, measured),
    }


def stack(result: Result) -> tuple[str, dict[str, tuple[float, float]]]:
    """What the picture stacks: its unit, and group to (prefill, decode).

    M instructions a token where they were counted by op, else MB read a token, which is computed.
    """
    if result.decode.by_op:
        phases = [{g: s.instret / 1e6 for g, s in p.by_op.items()} for p in (result.prefill, result.decode)]
        unit = "M instructions a token (hart 0)"
    else:
        phases = [{g: t.bytes / 1e6 for g, t in p.traffic.items()} for p in (result.prefill, result.decode)]
        unit = "MB read a token (computed)"
    names = sorted({*phases[0], *phases[1]}, key=lambda name: -phases[1].get(name, 0.0))
    values = {name: (phases[0].get(name, 0.0), phases[1].get(name, 0.0)) for name in names}
    return unit, {name: pair for name, pair in values.items() if any(pair)}


def speed_table(facts: dict[str, Any], result: Result) -> Table:
    """Prefill beside decode, one figure a line."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column(f"pp {result.plan.prompt}", justify="right")
    table.add_column(f"tg {result.plan.generate}", justify="right")
    for words, text in _figures(facts):
        table.add_row(words, *text)
    return table


def _figures(facts: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    phases = [facts["prefill"], facts["decode"]]

    def line(key: str, scale: float, form: str) -> list[str]:
        return ["-" if p.get(key) is None else form.format(p[key] / scale) for p in phases]

    yield (
        "tokens/s",
        [f"{p['tokens_per_second']:.2f} ± {p['tokens_per_second_deviation']:.2f}" for p in phases],
    )
    yield "M instructions a token (hart 0)", line("instructions", 1e6, "{:.3f}")
    yield "M cycles a token (hart 0)", line("cycles", 1e6, "{:.3f}")
    yield "MB of weights read a token", line("weight_bytes", 1e6, "{:.3f}")
    yield "MB of KV cache read a token", line("kv_bytes", 1e6, "{:.3f}")
    yield "M multiply-accumulates a token", line("macs", 1e6, "{:.3f}")
    if "bound_tokens_per_second" in phases[0]:
        yield "board's bound, tokens/s", line("bound_tokens_per_second", 1, "{:.1f}")
        yield "share of it", line("roofline_share", 1, "{:.1%}")


def time_line(facts: dict[str, Any]) -> str:
    """TTFT and the percentiles of TPOT."""
    first = sum(facts["ttft"]) / len(facts["ttft"])
    tpot = ", ".join(f"{name} {value * 1e3:.2f}" for name, value in facts["tpot"].items())
    return f"TTFT {first * 1e3:.1f} ms; TPOT ms: {tpot}"


def stack_table(result: Result) -> Table:
    """The numbers of the picture, with shares."""
    unit, values = stack(result)
    sums = [sum(pair[i] for pair in values.values()) or 1.0 for i in (0, 1)]
    table = Table(box=None, pad_edge=False)
    for column in (unit, "prefill", "", "decode", ""):
        table.add_column(column, justify="left" if column == unit else "right")
    for name, pair in values.items():
        cells = [text for i in (0, 1) for text in (f"{pair[i]:.4f}", f"{pair[i] / sums[i]:.1%}")]
        table.add_row(name, *cells)
    return table


def stack_bars(result: Result) -> list[Text]:
    """The picture as two bars of characters, each filling the width."""
    _, values = stack(result)
    lines = []
    for i, phase in enumerate(("prefill", "decode ")):
        total = sum(pair[i] for pair in values.values()) or 1.0
        bar, drawn, below = Text(f"{phase} "), 0, 0.0
        for n, pair in enumerate(values.values()):
            below += pair[i]
            width = round(below / total * BAR_WIDTH) - drawn
            bar.append("█" * width, COLOURS[n % len(COLOURS)])
            drawn += width
        lines.append(bar)
    return [*lines, *_legend(list(values))]


def _legend(names: list[str]) -> list[Text]:
    """Each colour with its name, in lines as wide as the bars: none stands apart from its name."""
    lines = [Text(INDENT)]
    for n, name in enumerate(names):
        if len(lines[-1]) + len(f"█ {name}") > len(INDENT) + BAR_WIDTH and lines[-1].plain.strip():
            lines.append(Text(INDENT))
        lines[-1].append("█ ", COLOURS[n % len(COLOURS)])
        lines[-1].append(f"{name}  ")
    for line in lines:
        line.rstrip()
    return lines


def print_report(result: Result, facts: dict[str, Any], console: Console) -> None:
    """The tables and the bars on a console."""
    console.print(speed_table(facts, result))
    console.print(time_line(facts), highlight=False)
    console.print()
    console.print(stack_table(result))
    for line in stack_bars(result):
        console.print(line)


def check_picture(path: Path) -> None:
    """UsageError before anything is run where the picture cannot be drawn."""
    if path.suffix not in PICTURES:
        raise UsageError(f"{path}: a picture is one of {', '.join(PICTURES)}")
    check_output(path, begins_with(*PICTURES[path.suffix]), flag="--plot", way="name another file")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError(
            "--plot needs matplotlib: pip install 'hartspeak[plot]'; leave it out for bars as text"
        ) from None


def plot(result: Result, title: str, path: Path) -> None:
    """Draw the stacked picture, prefill beside decode."""
    from matplotlib.figure import Figure

    unit, values = stack(result)
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    axes = figure.add_subplot()
    below = [0.0, 0.0]
    labels = [f"prefill (pp {result.plan.prompt})", f"decode (tg {result.plan.generate})"]
    for name, pair in values.items():
        axes.bar(labels, pair, bottom=below, label=name, width=0.6)
        below = [below[i] + pair[i] for i in (0, 1)]
    axes.set_ylabel(unit)
    axes.set_title(title)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", reverse=True)
    with replacing(path) as part:
        figure.savefig(part, format=path.suffix[1:])
