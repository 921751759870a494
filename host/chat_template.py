# SPDX-License-Identifier: Apache-2.0
"""From a conversation to token ids and from token ids to text that can be shown as it comes.

Templates are rendered by minijinja with the functions that Hugging Face's `apply_chat_template` gives them. No Python
object is reachable from a template, and its steps are limited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import minijinja
import tokenizers

from host.errors import SourceError
from host.importer.source import Tokenizer
from host.importer.tokenizer import parse

FUEL = 20_000_000
MAX_TEMPLATE = 1 << 20
REPLACEMENT = "\ufffd"
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")

Message = Mapping[str, str]
"""{"role": "system" | "user" | "assistant", "content": text}."""


class _Refused(Exception):
    """A template called raise_exception()."""


def _raise_exception(message: str) -> None:
    raise _Refused(message)


def _tojson(value: Any, indent: int | None = None) -> str:
    """Unlike minijinja's own filter this one leaves <, > and & alone, as Hugging Face does."""
    return minijinja.safe(json.dumps(value, ensure_ascii=False, indent=indent))


def _strftime_now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


class ChatTemplate:
    """A model's chat template, ready to render."""

    def __init__(self, template: str, special: Mapping[str, str], clock: bool = True) -> None:
        """``special`` holds bos_token and the like as text; ``clock``: whether the template may ask for the date.

        Raises SourceError when the template does not parse.
        """
        if len(template) > MAX_TEMPLATE:
            raise SourceError(f"the chat template has {len(template)} characters, at most {MAX_TEMPLATE} are allowed")
        self._special = dict(special)
        self._environment = minijinja.Environment(
            filters={"tojson": _tojson},
            globals={"raise_exception": _raise_exception} | ({"strftime_now": _strftime_now} if clock else {}),
            fuel=FUEL,
            auto_escape_callback=lambda _name: False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        try:
            self._environment.add_template("chat", _GENERATION.sub("", template))
        except minijinja.TemplateError as error:
            raise SourceError(f"the chat template cannot be read: {error.message}; use the model without it") from error

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """The conversation as the model was trained to see it. Raises SourceError when the template refuses it."""
        try:
            return self._environment.render_template(
                "chat",
                **self._special,
                messages=[dict(message) for message in messages],
                add_generation_prompt=add_generation_prompt,
            )
        except _Refused as error:
            raise SourceError(f"the model's chat template refuses this conversation: {error}") from error
        except minijinja.TemplateError as error:
            raise SourceError(f"the model's chat template fails on this conversation: {error.message}") from error


@dataclass(frozen=True)
class Turn:
    """What to send for the next answer. ``restart``: the session must be emptied first, ``ids`` are everything."""

    ids: list[int]
    restart: bool


class ChatFormatter:
    """Keeps in step with a session on the device, so that each turn sends only what is new.

    Call `turn` before each prompt and `answered` after it with all tokens that the session holds since. The session's
    own tokens are never tokenized again; when the template rewrites what was said before, the turn is a restart.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises SourceError when the model has no chat template."""
        if not tokenizer.chat_template:
            raise SourceError(
                "the model has no chat template, so it was not trained for conversations; use host run, which "
                "continues a text"
            )
        self._tokenizer = parse(tokenizer.json, "tokenizer")
        self._template = ChatTemplate(tokenizer.chat_template, tokenizer.special)
        self.held = ""
        """What the session holds, as text; who rolls the session back sets it back too."""

    def turn(self, messages: Sequence[Message]) -> Turn:
        """The tokens that bring the session to the point where the model answers the last message."""
        text = self._template.render(messages)
        restart = not self.held or not text.startswith(self.held) or len(text) == len(self.held)
        new = text if restart else text[len(self.held) :]
        self.held = text
        return Turn(self._tokenizer.encode(new, add_special_tokens=False).ids, restart)

    def answered(self, ids: Sequence[int]) -> None:
        """Tell which generated tokens the session took in after the prompt: without one that was only sampled."""
        self.held += self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def reset(self) -> None:
        """Forget the session: the next turn is a restart."""
        self.held = ""


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """Plain text as token ids, after bos where the model wants it. Raises SourceError when nothing remains."""
    ids: list[int] = parse(tokenizer.json, "tokenizer").encode(text, add_special_tokens=False).ids
    if tokenizer.add_bos and tokenizer.bos is not None:
        ids = [tokenizer.bos, *ids]
    if not ids:
        raise SourceError("the prompt is empty and the model has no start token; give it at least one word")
    return ids


class TextStream:
    """Token ids to text as they come: a character split over tokens is held back until it is whole."""

    def __init__(self, tokenizer: tokenizers.Tokenizer | Tokenizer, skip_special: bool = True) -> None:
        self._tokenizer = parse(tokenizer.json, "tokenizer") if isinstance(tokenizer, Tokenizer) else tokenizer
        self._skip = skip_special
        self._ids: list[int] = []
        self._shown = 0
        self._from = 0

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=self._skip))

    def push(self, token: int) -> str:
        """The text that this token completes, perhaps none."""
        self._ids.append(token)
        before = self._decode(self._ids[self._from : self._shown])
        now = self._decode(self._ids[self._from :])
        # A replacement character at the end may be the beginning of one that the next tokens complete.
        if len(now) <= len(before) or now.endswith(REPLACEMENT):
            return ""
        self._from, self._shown = self._shown, len(self._ids)
        return now[len(before) :]

    def finish(self) -> str:
        """What was held back, with replacement characters where a character is incomplete."""
        before = self._decode(self._ids[self._from : self._shown])
        now = self._decode(self._ids[self._from :])
        self._ids, self._shown, self._from = [], 0, 0
        return now[len(before) :]
