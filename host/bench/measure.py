# SPDX-License-Identifier: Apache-2.0
"""Runs prompts and answers on an open device and turns what it says of them into figures a token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from host.bench.traffic import group_name, total_traffic, traffic_by_group
from host.errors import TargetError, UsageError
from host.image.reader import Image
from host.ir.program import Traffic
from host.link.client import Client
from host.link.records import DeviceStats, Done
from host.link.transfer import SavedSession, restore_session

REST = "sampling, link"
"""What a token costs outside the ops of the program."""
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Plan:
    """What is run: a prompt of ``prompt`` tokens, ``generate`` tokens behind ``depth`` others; ``repeats`` times.

    by_op: have the device count by op, which costs some instructions an op.
    """

    prompt: int = 64
    generate: int = 16
    repeats: int = 3
    depth: int = 1
    by_op: bool = False


@dataclass(frozen=True)
class OpShare:
    """Instructions and cycles a token of hart 0 in one group of ops."""

    instret: float
    cycles: float


@dataclass
class Phase:
    """One phase, prefill or decode; all values a token. Instructions and cycles are hart 0's, None where not counted.

    seconds: one value a run. by_op: group to cost, empty where it was not asked for. traffic: group to bytes and MACs.
    """

    tokens: int
    seconds: list[float] = field(default_factory=list)
    instret: float | None = None
    cycles: float | None = None
    by_op: dict[str, OpShare] = field(default_factory=dict)
    traffic: dict[str, Traffic] = field(default_factory=dict)

    @property
    def tokens_per_second(self) -> tuple[float, float]:
        """Mean and standard deviation over the runs."""
        rates = [1 / s for s in self.seconds if s > 0]
        return (float(np.mean(rates)), float(np.std(rates))) if rates else (0.0, 0.0)

    @property
    def total(self) -> Traffic:
        """Bytes and MACs a token."""
        return total_traffic(self.traffic)


@dataclass
class Result:
    """What was measured; ``ttft`` one value a run, ``tpot`` one a decoded token; both seconds."""

    plan: Plan
    prefill: Phase
    decode: Phase
    ttft: list[float] = field(default_factory=list)
    tpot: list[float] = field(default_factory=list)


def percentiles(values: list[float]) -> dict[int, float]:
    """The p50, p95 and p99 of some values, interpolated linearly; empty for none."""
    return {p: float(np.percentile(values, p)) for p in PERCENTILES} if values else {}


def bench_tokens(count: int, vocab: int) -> list[int]:
    """Token ids of a prompt: the same on every target, spread over the vocabulary."""
    return [(i * 7919 + 1) % vocab for i in range(count)]


def check_plan(plan: Plan, client: Client) -> None:
    """UsageError where the context or the queue of the device cannot hold what is asked for."""
    info = client.info
    longest = max(plan.prompt + 1, plan.depth + plan.generate + 1)
    if longest > info.context and not info.overflow:
        raise UsageError(f"the runs take {longest} positions, the image has {info.context}; ask for fewer tokens")
    if plan.prompt > info.pending_limit:
        raise UsageError(
            f"the device takes prompts of {info.pending_limit} tokens at once; ask for fewer with --prompt"
        )


def measure(
    client: Client,
    image: Image,
    plan: Plan,
    progress: Callable[[int, int], None] | None = None,
    depth_state: SavedSession | None = None,
) -> Result:
    """Run the plan on session 0 and leave it empty. progress: called with (runs done, of so many).

    depth_state: of the depth's tokens but the last, restored where they would be evaluated; states are the same on
    all targets. Raises UsageError where the plan does not fit, TargetError where an answer ended early.
    """
    check_plan(plan, client)
    chunk = client.info.max_rows
    result = Result(
        plan,
        Phase(plan.prompt, traffic=traffic_by_group(image, plan.prompt, 0, chunk, logits_each=False)),
        Phase(plan.generate, traffic=traffic_by_group(image, plan.generate, plan.depth, 1, logits_each=True)),
    )
    for run in range(plan.repeats):
        if progress:
            progress(2 * run, 2 * plan.repeats)
        _run_prefill(client, image, result)
        if progress:
            progress(2 * run + 1, 2 * plan.repeats)
        _run_decode(client, image, result, depth_state)
    if progress:
        progress(2 * plan.repeats, 2 * plan.repeats)
    client.truncate(0)
    return result


def _run_prefill(client: Client, image: Image, result: Result) -> None:
    """Reads a prompt into an empty session; the first token and its sampling belong to it."""
    plan, phase = result.plan, result.prefill
    client.truncate(0)
    _count(client, plan)
    client.prompt(bench_tokens(plan.prompt, client.info.vocab))
    done = client.generate(1).finish()
    result.ttft.append(done.first_us / 1e6)
    phase.seconds.append(done.first_us / 1e6 / plan.prompt)
    _take_counters(client, phase, done.prefill_instret / plan.prompt, done.prefill_cycles / plan.prompt)
    _take_ops(client, image, plan, phase, plan.prompt)


def _run_decode(client: Client, image: Image, result: Result, depth_state: SavedSession | None) -> None:
    """Decodes behind ``depth`` tokens, the last of which is evaluated in a step of its own."""
    plan, phase = result.plan, result.decode
    client.truncate(0)
    tokens = bench_tokens(plan.depth, client.info.vocab)
    if depth_state:
        restore_session(client, depth_state)
    elif plan.depth > 1:
        client.prompt(tokens[:-1])
        client.generate(0).finish()
    client.prompt(tokens[-1:])
    _count(client, plan)
    run = client.generate(plan.generate + 1)
    times = [token.time_us / 1e6 for token in run]
    done = run.finish()
    _check_length(done, plan.generate + 1)
    result.tpot += times[1:]
    phase.seconds.append((done.total_us - done.first_us) / 1e6 / plan.generate)
    _take_counters(client, phase, done.decode_instret / plan.generate, done.decode_cycles / plan.generate)
    _take_ops(client, image, plan, phase, plan.generate + 1)


def _check_length(done: Done, wanted: int) -> None:
    if done.generated != wanted:
        raise TargetError(f"the device wrote {done.generated} of {wanted} tokens ({done.reason.name.lower()})")


def _count(client: Client, plan: Plan) -> None:
    if plan.by_op:
        client.stats(enable=True, reset=True)


def _take_counters(client: Client, phase: Phase, instret: float, cycles: float) -> None:
    """Keeps the run with the fewest instructions; they differ only by what the link had to do meanwhile."""
    if client.info.counters and (phase.instret is None or instret < phase.instret):
        phase.instret, phase.cycles = instret, cycles


def _take_ops(client: Client, image: Image, plan: Plan, phase: Phase, tokens: int) -> None:
    if not plan.by_op:
        return
    stats = client.stats(enable=False)
    if client.info.counters:
        phase.by_op = group_ops(image, stats, tokens, phase)


def group_ops(image: Image, stats: DeviceStats, tokens: int, phase: Phase) -> dict[str, OpShare]:
    """Costs a token by group, the costliest first; what the token costs beside the ops comes last, as ``REST``."""
    totals: dict[str, OpShare] = {}
    for op in stats.ops:
        group = group_name(image, op.id, op.weight)
        before = totals.get(group, OpShare(0.0, 0.0))
        totals[group] = OpShare(before.instret + op.instret / tokens, before.cycles + op.cycles / tokens)
    ordered = dict(sorted(totals.items(), key=lambda item: -item[1].instret))
    rest = (phase.instret or 0.0) - sum(share.instret for share in totals.values())
    left = (phase.cycles or 0.0) - sum(share.cycles for share in totals.values())
    return ordered | {REST: OpShare(max(rest, 0.0), max(left, 0.0))}
