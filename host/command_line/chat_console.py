# SPDX-License-Identifier: Apache-2.0
"""The loop of ``host chat`` between a person and a conversation, with its /commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import typer

from host.choices import meant
from host.command_line.line_editor import ReadLine
from host.command_line.report import context_words, cost_lines, show, summary
from host.errors import DeviceFailure, ImageError, SourceError, UsageError
from host.link.interrupts import deferred_interrupts
from host.link.records import MAX_TOKENS, Done, SamplerParams
from host.output import check_output, replacing
from host.schema.wire.answers import Reason
from host.talk.answer import Answer
from host.talk.conversation import Conversation
from host.terminal import Notices, folded, held_echo
from host.words import shown_lines

HELP = """/reset            forget the conversation
/retry            take back the last answer and answer again, with the next seed
/system [TEXT]    begin anew with another system message; without TEXT: with none
/save FILE        write the conversation to FILE, as JSON where it ends in .json, else as text
/stats            time and cost of the last answer, state of the line
/params [K=V ...] show or change temperature, top_k, top_p, min_p, repeat_penalty, repeat_last, seed, max_tokens
/help             this
/quit             leave (so do Ctrl-D, and Ctrl-C twice at an empty prompt)
Ctrl-C during an answer ends the answer; what is typed meanwhile waits for the next prompt."""
HEADING = "# A conversation, saved by host chat"
"""First line of a conversation that was saved as text: such a file may be replaced by the next one."""

SEEDS = 1 << 64


@dataclass
class ChatConsole:
    """The loop between a person and a conversation."""

    conversation: Conversation
    read_line: ReadLine
    notices: Notices
    last: Done | None = None
    full: bool = False
    """Whether it has been said that the context is full."""
    commands: dict[str, Callable[[list[str]], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commands = {
            "/reset": self._reset,
            "/retry": self._retry,
            "/system": self._system,
            "/save": self._save,
            "/stats": self._stats,
            "/params": self._params,
            "/help": self._help,
        }

    def status(self) -> str:
        """Speed of the last answer and how full the context is."""
        client = self.conversation.client
        most = client.info.context
        used = f"context {min(client.ledger.lengths.get(0, 0), most)} of {most}"
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
                with deferred_interrupts(self.conversation.client), held_echo():
                    self._do(line, words)
            except (UsageError, DeviceFailure, SourceError, ImageError) as error:
                self.notices.clear()
                typer.echo(f"error: {shown_lines(str(error))}", err=True)

    def _do(self, line: str, words: list[str]) -> None:
        if words[0] in self.commands:
            self.commands[words[0]](words[1:])
        elif words[0].startswith("/"):
            hint = meant(words[0], [*self.commands, "/quit"])
            raise UsageError(f"unknown command {words[0]}; {hint + ' ' if hint else ''}/help lists them")
        else:
            self._answer(line)

    def _answer(self, line: str) -> None:
        answer: Answer = self.conversation.ask(line, self.notices.progress)
        try:
            show(answer, self.notices)
        except DeviceFailure:
            self.conversation.unanswered()
            raise
        self.conversation.answered(answer)
        self.notices.answered()
        self.last = answer.done
        if answer.done.reason == Reason.CANCELLED and not answer.stopped_by_text:
            typer.echo("[cancelled]", err=True)
        elif answer.done.reason == Reason.CONTEXT_FULL:
            self._say_full()
        elif answer.done.reason == Reason.LENGTH:
            typer.echo("[cut off at max_tokens: /params max_tokens=N allows more]", err=True)

    def _say_full(self) -> None:
        """All of it once, until there is room again."""
        words = context_words(self.conversation.model)
        said = "[the context is full]" if self.full else f"[{words}; /reset forgets all and goes on]"
        typer.echo(folded(said), err=True)
        self.full = True

    def _reset(self, _words: list[str]) -> None:
        self._begin()
        typer.echo("the conversation is forgotten", err=True)

    def _begin(self) -> None:
        self.conversation.reset()
        self.conversation.client.truncate(0)
        self.last, self.full = None, False

    def _retry(self, _words: list[str]) -> None:
        params = self.conversation.params
        if params.temperature == 0:
            raise UsageError("the same answer would come, as temperature is 0; /params temperature=0.7 first")
        question = self.conversation.take_back()
        self.full = False
        self.conversation.set_params(seed=(params.seed + 1) % SEEDS)
        self._answer(question)

    def _system(self, words: list[str]) -> None:
        self.conversation.set_system(" ".join(words) or None)
        self._begin()
        typer.echo(f"the conversation begins anew with {'this' if words else 'no'} system message", err=True)

    def _save(self, words: list[str]) -> None:
        if not words:
            raise UsageError("/save wants the name of a file, such as /save talk.txt")
        path = Path(" ".join(words)).expanduser()
        save(self.conversation.messages, path)
        typer.echo(f"{len(self.conversation.messages)} messages are in {path}", err=True)

    def _stats(self, _words: list[str]) -> None:
        client = self.conversation.client
        if self.last:
            typer.echo(summary(self.last, client.length(), client.info.context))
        stats, decoder, delivery = client.stats(reset=True), client.line.decoder, client.connection.delivery
        typer.echo(
            f"frames to the device {stats.frames_received}, damaged {stats.frames_damaged}, doubled "
            f"{stats.frames_duplicate}, lost {stats.frames_lost}; to the host {decoder.frames}, damaged "
            f"{decoder.damaged}, doubled {delivery.duplicates}, lost {delivery.lost}; "
            f"repeated by the device {stats.frames_repeated}, by the host {delivery.repeated}"
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


def save(messages: list[dict[str, str]], path: Path) -> None:
    """Write a conversation to a file. UsageError where it cannot be, or where the file is no saved conversation."""
    check_output(path, ours=_is_saved, flag="/save", way="name another file")
    if path.suffix == ".json":
        text = json.dumps(messages, indent=2, ensure_ascii=False)
    else:
        text = "\n\n".join([HEADING, *(f"## {one['role']}\n\n{one['content']}" for one in messages)])
    try:
        with replacing(path) as part:
            part.write_text(text + "\n", encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _is_saved(path: Path) -> bool:
    """Whether a file is a conversation that was saved, or is empty."""
    try:
        text = path.read_text(encoding="utf-8")
        if not text or text.startswith(HEADING):
            return True
        found = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, list) and all(isinstance(one, dict) and set(one) == {"role", "content"} for one in found)
