# SPDX-License-Identifier: Apache-2.0
"""``host chat``: talk with a model, with line editing on a terminal, line by line in a pipe."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import typer

from host.command_line.line_editor import pipe_reader, terminal_reader
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
from host.terminal import Notices, held_echo


def register(app: typer.Typer) -> None:
    """Add ``host chat``."""

    @app.command()
    def chat(
        image: ImageArgument,
        target: TargetOption = "native",
        board: BoardOption = None,
        system: SystemOption = None,
        stop: StopOption = None,
        max_tokens: TokensOption = 512,
        temperature: TemperatureOption = 0.0,
        top_k: TopKOption = 0,
        top_p: TopPOption = 1.0,
        min_p: MinPOption = 0.0,
        repeat_penalty: PenaltyOption = 1.0,
        repeat_last: LastOption = 64,
        seed: SeedOption = 0,
        quiet: QuietOption = False,
        log: LogOption = None,
        patience: PatienceOption = None,
        baud: BaudOption = None,
    ) -> None:
        """Talk with the model on a target. /help lists what can be typed beside questions."""
        from host.command_line.chat_console import ChatConsole
        from host.link.records import SamplerParams
        from host.talk.conversation import Conversation
        from host.talk.opening import open_model

        params = SamplerParams(temperature, top_k, top_p, min_p, repeat_penalty, repeat_last, seed)
        notices = Notices(quiet)
        options = open_options(notices, log, patience, baud)
        opened = open_model(image, target, options, board=board, chat=True, restore=True)
        with ExitStack() as stack:
            with held_echo():  # what is typed while the device starts waits for the first prompt
                model = stack.enter_context(opened)
            model.client.stats(enable=True, reset=True)
            conversation = Conversation(model, params, max_tokens, tuple(stop or ()), system)
            console = ChatConsole(conversation, pipe_reader, notices)
            if sys.stdin.isatty() and sys.stdout.isatty():
                console.read_line = terminal_reader(console.status)
                typer.echo("Type a question; /help lists commands, Ctrl-D leaves.", err=True)
            console.run()
