# SPDX-License-Identifier: Apache-2.0
"""What commands print of an answer: its text as it comes, how it ended, and what it cost."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import typer

from host.schema.wire.answers import Reason
from host.terminal import Notices, end_line, folded, say, start_line

if TYPE_CHECKING:
    from host.link.records import DeviceStats, Done
    from host.talk.answer import Answer
    from host.talk.opening import LoadedModel


def record(model: LoadedModel, answer: Answer, stats: DeviceStats | None) -> dict[str, Any]:
    """All facts of an answer, as ``--json`` prints them."""
    info = model.client.info
    facts: dict[str, Any] = {
        "text": answer.text,
        "reason": "stop" if answer.stopped_by_text else answer.done.reason.name.lower(),
        "tokens": answer.tokens,
        "done": dataclasses.asdict(answer.done) | {"reason": answer.done.reason.name.lower()},
        "tokens_per_second": answer.done.tokens_per_second,
        "device": dataclasses.asdict(info) | {"root": info.root.hex()},
    }
    return facts | ({"stats": dataclasses.asdict(stats)} if stats else {})


def summary(done: Done, used: int, context: int) -> str:
    """One line about an answer: how it ended, how fast, how full the context is."""
    return (
        f"{done.evaluated} tokens read, first token after {done.first_us / 1e6:.2f} s; {done.generated} written, "
        f"{done.tokens_per_second:.1f} tokens/s; context {min(used, context)} of {context} "
        f"[{done.reason.name.lower()}]"
    )


def show(answer: Answer, notices: Notices, json_: bool = False) -> None:
    """Print an answer as it comes, and end its line; nothing for JSON."""
    try:
        for piece in answer:
            notices.clear()
            if not json_:
                say(piece)
    except BaseException:
        notices.clear()
        end_line()
        raise
    notices.clear()
    if not json_:
        typer.echo()
        start_line()


def note_end(answer: Answer, model: LoadedModel, max_tokens: int) -> None:
    """Say why an answer ended where it did not end by itself."""
    if answer.done.reason == Reason.LENGTH:
        typer.echo(folded(f"[stopped at --max-tokens {max_tokens}; a larger one lets it go on]"), err=True)
    elif answer.done.reason == Reason.CONTEXT_FULL:
        typer.echo(folded(f"[{context_words(model)}]"), err=True)


def context_words(model: LoadedModel) -> str:
    """What a full context means, and what is to be done about it."""
    most = model.client.info.context
    return (
        f"the context is full: {most} of {most} positions; for more pack the image with a longer --context, or with "
        "--overflow slide, which forgets the oldest"
    )


def print_facts(model: LoadedModel, answer: Answer, costs: DeviceStats | None, json_: bool) -> None:
    """Print all facts as JSON, or the costs for people, where they were counted."""
    if json_:
        typer.echo(json.dumps(record(model, answer, costs), indent=2))
    elif costs:
        typer.echo(summary(answer.done, answer.done.length, model.client.info.context), err=True)
        for line in cost_lines(costs, model.client.info.counters):
            typer.echo(line, err=True)


def cost_lines(stats: DeviceStats, counters: bool) -> list[str]:
    """Instructions and cycles by kind of op, the costliest first."""
    from host.ops import OPS

    if not counters:
        return ["this target does not count instructions and cycles"]
    totals: dict[int, list[int]] = {}
    for op in stats.ops:
        total = totals.setdefault(op.id, [0, 0, 0])
        for i, value in enumerate((op.calls, op.instret, op.cycles)):
            total[i] += value
    every = sum(total[1] for total in totals.values()) or 1
    lines = [f"{'op':<12}{'calls':>10}{'instructions':>16}{'cycles':>16}{'share':>8}"]
    for op_id, (calls, instret, cycles) in sorted(totals.items(), key=lambda item: -item[1][1]):
        lines.append(f"{OPS[op_id].name:<12}{calls:>10}{instret:>16}{cycles:>16}{instret / every:>8.1%}")
    return lines
