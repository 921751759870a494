# SPDX-License-Identifier: Apache-2.0
"""``host run``: give one prompt, get one answer."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from host.command_line.options import (
    BaudOption,
    BoardOption,
    ImageArgument,
    LastOption,
    LogOption,
    MinPOption,
    PatienceOption,
    PenaltyOption,
    QuietOption,
    SeedOption,
    StopOption,
    SystemOption,
    TargetOption,
    TemperatureOption,
    TokensOption,
    TopKOption,
    TopPOption,
    open_options,
)
from host.errors import UsageError
from host.terminal import Notices

INTERRUPTED = 130


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
        from host.command_line.report import note_end, print_facts, show
        from host.link.interrupts import deferred_interrupts
        from host.link.records import SamplerParams
        from host.schema.wire.answers import Reason
        from host.talk.conversation import Conversation
        from host.talk.opening import open_model
        from host.talk.text_session import TextSession

        if digest and not json_:
            raise UsageError("--digest prints the digests in the JSON object: add --json")
        text = sys.stdin.read() if prompt == "-" else prompt
        params = SamplerParams(temperature, top_k, top_p, min_p, repeat_penalty, repeat_last, seed)
        notices = Notices(quiet or json_)
        options = open_options(notices, log, patience, baud)
        with (
            open_model(image, target, options, board=board, restore=True) as model,
            deferred_interrupts(model.client),
        ):
            if stats:
                model.client.stats(enable=True, reset=True)
            stops = tuple(stop or ())
            if raw or (not model.tokenizer.chat_template and system is None):
                session = TextSession(model, params, max_tokens, stops)
                session.digest = digest
                answer = session.complete_text(text, notices.progress)
            else:
                conversation = Conversation(model, params, max_tokens, stops, system)
                conversation.digest = digest
                answer = conversation.ask(text, notices.progress)
            show(answer, notices, json_)
            if not json_:
                note_end(answer, model, max_tokens)
            costs = model.client.stats() if stats else None
            print_facts(model, answer, costs, json_)
        if answer.done.reason == Reason.CANCELLED and not answer.stopped_by_text:
            raise typer.Exit(INTERRUPTED)
