# SPDX-License-Identifier: Apache-2.0
"""``host run``: give one prompt, get one answer."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from host.command_line import completion
from host.errors import UsageError
from host.link.interrupts import deferred_interrupts
from host.link.records import MAX_TOKENS, DeviceStats, Done, SamplerParams
from host.schema.wire.answers import Reason
from host.talk.talk import Answer, Conversation, Speaker, Talk, open_talk
from host.terminal import Notices, end_line, folded, say, start_line

INTERRUPTED = 130

ImageArgument = Annotated[
    str, typer.Argument(help="Image file, or a recipe or model file to pack first.", autocompletion=completion.images)
]
TargetOption = Annotated[
    str,
    typer.Option(
        "-t",
        "--target",
        help="native, spike, qemu-virt, linux, visionfive2@spike, a serial port or socket://HOST:PORT.",
        autocompletion=completion.targets,
    ),
]
BoardOption = Annotated[
    str | None, typer.Option(help="Board to pack for (the target's).", autocompletion=completion.boards)
]
SystemOption = Annotated[str | None, typer.Option(help="System message (none).")]
StopOption = Annotated[list[str] | None, typer.Option(help="End the answer at this text; may be repeated (none).")]
TokensOption = Annotated[int, typer.Option(min=1, max=MAX_TOKENS, help="Longest answer, tokens.")]
TemperatureOption = Annotated[float, typer.Option(min=0.0, help="0 is greedy.")]
TopKOption = Annotated[int, typer.Option(min=0, help="Only the K likeliest tokens; 0: all.")]
TopPOption = Annotated[float, typer.Option(min=0.0, max=1.0, help="Only the likeliest tokens that make up P.")]
MinPOption = Annotated[float, typer.Option(min=0.0, max=1.0, help="Only tokens with P of the best one's probability.")]
PenaltyOption = Annotated[float, typer.Option(min=0.01, help="Divide repeated tokens' logits; 1: off.")]
LastOption = Annotated[int, typer.Option(min=0, help="Tokens looked back for repetitions.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the random numbers.")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Do not show what the device prints.")]
LogOption = Annotated[Path | None, typer.Option(help="Write all frames to this file, in words (no file).")]
BaudOption = Annotated[
    str | None, typer.Option(help="Change the serial line to this rate, or auto: the fastest that works (as it is).")
]
PatienceOption = Annotated[
    float | None,
    typer.Option(min=1.0, help="Seconds of silence after which a device is given up (120; simulators 600)."),
]


def record(talk: Talk, answer: Answer, stats: DeviceStats | None) -> dict[str, Any]:
    """All facts of an answer, as ``--json`` prints them."""
    info = talk.client.info
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


def register(app: typer.Typer) -> None:
    """Add ``host run``."""

    @app.command()
    def run(
        image: ImageArgument,
        prompt: Annotated[str, typer.Option("-p", "--prompt", help="What to say; - reads it from standard input.")],
        target: TargetOption = "native",
        board: BoardOption = None,
        system: SystemOption = None,
        stop: StopOption = None,
        max_tokens: TokensOption = 256,
        temperature: TemperatureOption = 0.0,
        top_k: TopKOption = 0,
        top_p: TopPOption = 1.0,
        min_p: MinPOption = 0.0,
        repeat_penalty: PenaltyOption = 1.0,
        repeat_last: LastOption = 64,
        seed: SeedOption = 0,
        raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, without chat template.")] = False,
        digest: Annotated[bool, typer.Option("--digest", help="With --json: CRC-32C of each token's logits.")] = False,
        stats: Annotated[bool, typer.Option("--stats", help="Time, and the cost by op where it is counted.")] = False,
        json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
        quiet: QuietOption = False,
        log: LogOption = None,
        patience: PatienceOption = None,
        baud: BaudOption = None,
    ) -> None:
        """Have the model on a target answer a prompt."""
        if digest and not json_:
            raise UsageError("--digest prints the digests in the JSON object: add --json")
        text = sys.stdin.read() if prompt == "-" else prompt
        params = SamplerParams(temperature, top_k, top_p, min_p, repeat_penalty, repeat_last, seed)
        notices = Notices(quiet or json_)
        opened = open_talk(
            image,
            target,
            board=board,
            console=notices.line,
            waiting=notices.waiting,
            log=log,
            patience=patience,
            restore=True,
            baud=baud,
        )
        with opened as talk, deferred_interrupts(talk.client):
            stops = tuple(stop or ())
            if stats:
                talk.client.stats(enable=True, reset=True)
            answer = _answer(talk, params, max_tokens, stops, system, raw, text, digest, notices)
            show(answer, notices, json_)
            if not json_:
                note_end(answer, talk, max_tokens)
            costs = talk.client.stats() if stats else None
            _report(talk, answer, costs, json_)
        if answer.done.reason == Reason.CANCELLED and not answer.stopped_by_text:
            raise typer.Exit(INTERRUPTED)


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


def note_end(answer: Answer, talk: Talk, max_tokens: int) -> None:
    """Say why an answer ended where it did not end by itself."""
    if answer.done.reason == Reason.LENGTH:
        typer.echo(folded(f"[stopped at --max-tokens {max_tokens}; a larger one lets it go on]"), err=True)
    elif answer.done.reason == Reason.CONTEXT_FULL:
        typer.echo(folded(f"[{context_words(talk)}]"), err=True)


def context_words(talk: Talk) -> str:
    """What a full context means, and what is to be done about it."""
    most = talk.client.info.context
    return (
        f"the context is full: {most} of {most} positions; for more pack the image with a longer --context, or with "
        "--overflow slide, which forgets the oldest"
    )


def _answer(
    talk: Talk,
    params: SamplerParams,
    max_tokens: int,
    stops: tuple[str, ...],
    system: str | None,
    raw: bool,
    text: str,
    digest: bool,
    notices: Notices,
) -> Answer:
    """Put the prompt: as a question where the model has a chat template, else as a text to continue."""
    if raw or (not talk.tokenizer.chat_template and system is None):
        speaker = Speaker(talk, params, max_tokens, stops)
        speaker.digest = digest
        return speaker.complete_text(text, notices.progress)
    conversation = Conversation(talk, params, max_tokens, stops, system)
    conversation.digest = digest
    return conversation.ask(text, notices.progress)


def _report(talk: Talk, answer: Answer, costs: DeviceStats | None, json_: bool) -> None:
    if json_:
        typer.echo(json.dumps(record(talk, answer, costs), indent=2))
    elif costs:
        typer.echo(summary(answer.done, answer.done.length, talk.client.info.context), err=True)
        for line in cost_lines(costs, talk.client.info.counters):
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
