# SPDX-License-Identifier: Apache-2.0
"""``host chat``: talk with a model, with line editing on a terminal, line by line in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import typer

from host.commands.run import (
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
    cost_lines,
    summary,
)
from host.errors import DeviceFailure, UsageError
from host.importer.recipe import cache_folder
from host.link.interrupts import deferred_interrupts
from host.link.messages import Reason
from host.link.records import MAX_TOKENS, Done, SamplerParams
from host.talk import Answer, Conversation, open_talk
from host.terminal import Notices, say

HELP = """/reset            forget the conversation
/stats            time and cost of the last answer, state of the line
/params [K=V ...] show or change temperature, top_k, top_p, min_p, repeat_penalty, repeat_last, seed, max_tokens
/help             this
/quit             leave (so do Ctrl-D, and Ctrl-C at the prompt)
Ctrl-C during an answer ends the answer."""

ReadLine = Callable[[], str | None]
"""The next line, or None at the end."""


@dataclass
class Console:
    """The loop between a person and a conversation."""

    conversation: Conversation
    read_line: ReadLine
    notices: Notices
    last: Done | None = None
    commands: dict[str, Callable[[list[str]], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commands = {"/reset": self._reset, "/stats": self._stats, "/params": self._params, "/help": self._help}

    def status(self) -> str:
        """Speed of the last answer and how full the context is."""
        client = self.conversation.client
        used = f"context {client.lengths.get(0, 0)} of {client.info.context}"
        return f"{self.last.tokens_per_second:.1f} tokens/s, {used}" if self.last else used

    def run(self) -> None:
        """Read and answer until the end of the input or /quit."""
        while (line := self.read_line()) is not None:
            words = line.split()
            if not words:
                continue
            if words[0] in ("/quit", "/exit"):
                return
            try:
                with deferred_interrupts(self.conversation.client):
                    self._do(line, words)
            except (UsageError, DeviceFailure) as error:
                typer.echo(f"error: {error}", err=True)

    def _do(self, line: str, words: list[str]) -> None:
        if words[0] in self.commands:
            self.commands[words[0]](words[1:])
        elif words[0].startswith("/"):
            raise UsageError(f"unknown command {words[0]}; /help lists them")
        else:
            self._answer(line)

    def _answer(self, line: str) -> None:
        answer: Answer = self.conversation.ask(line, self.notices.progress)
        try:
            for piece in answer:
                self.notices.clear()
                say(piece)
        except DeviceFailure:
            self.conversation.unanswered()
            raise
        typer.echo()
        self.conversation.answered(answer)
        self.last = answer.done
        if answer.done.reason == Reason.CANCELLED and not answer.stopped_by_text:
            typer.echo("[cancelled]", err=True)
        elif answer.done.reason == Reason.CONTEXT_FULL:
            typer.echo("[the context is full: /reset starts again]", err=True)
        elif answer.done.reason == Reason.LENGTH:
            typer.echo("[cut off at max_tokens: /params max_tokens=N allows more]", err=True)

    def _reset(self, _words: list[str]) -> None:
        self.conversation.reset()
        self.conversation.client.truncate(0)
        self.last = None
        typer.echo("the conversation is forgotten", err=True)

    def _stats(self, _words: list[str]) -> None:
        client = self.conversation.client
        if self.last:
            typer.echo(summary(self.last, client.length(), client.info.context))
        stats = client.stats(reset=True)
        typer.echo(
            f"frames to the device {stats.frames_received}, damaged {stats.frames_damaged}, doubled "
            f"{stats.frames_duplicate}, lost {stats.frames_lost}; to the host {client.decoder.frames}, damaged "
            f"{client.decoder.damaged}, doubled {client.connection.duplicates}, lost {client.connection.lost}; "
            f"repeated by the device {stats.frames_repeated}, by the host {client.connection.repeated}"
        )
        for line in cost_lines(stats, client.info.counters):
            typer.echo(line)

    def _params(self, words: list[str]) -> None:
        for word in words:
            name, equals, value = word.partition("=")
            try:
                number = float(value) if "." in value else int(value)
            except ValueError as error:
                raise UsageError(f"{word!r} is not NAME=NUMBER, such as temperature=0.7") from error
            if not equals:
                raise UsageError(f"{word!r} is not NAME=NUMBER, such as temperature=0.7")
            if name == "max_tokens":
                if number not in range(1, MAX_TOKENS + 1):
                    raise UsageError(f"max_tokens is {value}; it must be a whole number from 1 to {MAX_TOKENS}")
                self.conversation.max_tokens = int(number)
            else:
                self.conversation.set_params(**{name: number})
        params = self.conversation.params
        shown = [f"{name}={getattr(params, name)}" for name in SamplerParams.__dataclass_fields__]
        typer.echo(" ".join([*shown, f"max_tokens={self.conversation.max_tokens}"]))

    def _help(self, _words: list[str]) -> None:
        typer.echo(HELP)


def pipe_reader() -> str | None:
    """Read the next line of standard input."""
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None


def terminal_reader(status: Callable[[], str]) -> ReadLine:
    """Line editing with history kept in the user's cache, and the status below the line."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(history=FileHistory(str(folder / "chat_history")))

    def read() -> str | None:
        try:
            return session.prompt("> ", bottom_toolbar=status)
        except (EOFError, KeyboardInterrupt):
            return None

    return read


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
        params = SamplerParams(temperature, top_k, top_p, min_p, repeat_penalty, repeat_last, seed)
        notices = Notices(quiet)
        opened = open_talk(
            image,
            target,
            board=board,
            console=notices.line,
            log=log,
            patience=patience,
            chat=True,
            restore=True,
            baud=baud,
        )
        with opened as talk:
            talk.client.stats(enable=True, reset=True)
            conversation = Conversation(talk, params, max_tokens, tuple(stop or ()), system)
            console = Console(conversation, pipe_reader, notices)
            if sys.stdin.isatty() and sys.stdout.isatty():
                console.read_line = terminal_reader(console.status)
                typer.echo("Type a question; /help lists commands, Ctrl-D leaves.", err=True)
            console.run()
