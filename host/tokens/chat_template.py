# SPDX-License-Identifier: Apache-2.0
"""From a conversation to token ids and from token ids to text that can be shown as it comes.

Templates are rendered by minijinja in the sandbox (host/tokens/sandbox.py), with the functions and names that Hugging
Face's `apply_chat_template` gives them. No Python object is reachable from a template; its steps, memory, time and
output are limited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from host.errors import HostError, SourceError
from host.files.source import Tokenizer
from host.tokens.sandbox import Loaded, SandboxError
from host.tokens.tokenizer import Codec, codec_of
from host.words import shown

MAX_TEMPLATE = 1 << 20
MAX_RENDERED = 16 << 20
REPLACEMENT = "\ufffd"

Message = Mapping[str, str]
"""{"role": "system" | "user" | "assistant", "content": text}."""


class ChatTemplate:
    """A model's chat template, ready to render."""

    def __init__(
        self,
        template: str,
        special: Mapping[str, str],
        clock: bool = True,
        refusal: type[HostError] = SourceError,
    ) -> None:
        """``special`` holds bos_token and the like as text; ``clock``: whether the template may ask for the date.

        Raises ``refusal``, an error of this kind, when the template does not parse.
        """
        self._refusal = refusal
        if len(template) > MAX_TEMPLATE:
            raise refusal(f"the chat template has {len(template)} characters, at most {MAX_TEMPLATE} are allowed")
        self._special = dict(special)
        try:
            self._loaded = Loaded("template", text=template, clock=clock)
        except SandboxError as error:
            raise refusal(f"the chat template cannot be read: {shown(str(error))}; use the model without it") from error

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """The conversation as the model was trained to see it. Raises the refusal when the template fails on it."""
        values = {
            "tools": None,
            "documents": None,
            **self._special,
            "messages": [dict(message) for message in messages],
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return str(self._loaded.ask("render", MAX_RENDERED, values=values))
        except SandboxError as error:
            does = "refuses" if error.kind == "refused" else "fails on"
            raise self._refusal(
                f"the model's chat template {does} this conversation: {shown(str(error) or 'it gives no reason')}; "
                "host run --raw needs none"
            ) from error


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
        self._tokenizer = codec_of(tokenizer)
        self._template = ChatTemplate(tokenizer.chat_template, tokenizer.special, refusal=tokenizer.refusal)
        self.held = ""
        """What the session holds, as text; who rolls the session back sets it back too."""

    def turn(self, messages: Sequence[Message]) -> Turn:
        """The tokens that bring the session to the point where the model answers the last message."""
        text = self._template.render(messages)
        restart = not self.held or not text.startswith(self.held) or len(text) == len(self.held)
        new = text if restart else text[len(self.held) :]
        self.held = text
        return Turn(self._tokenizer.encode(new), restart)

    def answered(self, ids: Sequence[int]) -> None:
        """Tell which generated tokens the session took in after the prompt: without one that was only sampled."""
        self.held += self._tokenizer.decode(list(ids), skip_special=False)

    def reset(self) -> None:
        """Forget the session: the next turn is a restart."""
        self.held = ""


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """Plain text as token ids, after what the model wants before it. Raises SourceError when nothing remains."""
    ids = [*tokenizer.start, *codec_of(tokenizer).encode(text)]
    if not ids:
        raise SourceError("the prompt is empty and the model has no start token; give it at least one word")
    return ids


class TextStream:
    """Token ids to text as they come: a character split over tokens is held back until it is whole."""

    def __init__(self, tokenizer: Codec | Tokenizer, skip_special: bool = True) -> None:
        self._tokenizer = codec_of(tokenizer) if isinstance(tokenizer, Tokenizer) else tokenizer
        self._skip = skip_special
        self._ids: list[int] = []
        self._shown = 0
        self._from = 0

    def _decode(self) -> tuple[str, str]:
        """The text up to what was shown, and all of it."""
        lists = [self._ids[self._from : self._shown], self._ids[self._from :]]
        before, now = self._tokenizer.decode_all(lists, self._skip)
        return before, now

    def push(self, token: int) -> str:
        """The text that this token completes, perhaps none."""
        self._ids.append(token)
        before, now = self._decode()
        # A replacement character at the end may be the beginning of one that the next tokens complete.
        if len(now) <= len(before) or now.endswith(REPLACEMENT):
            return ""
        self._from, self._shown = self._shown, len(self._ids)
        return now[len(before) :]

    def finish(self) -> str:
        """What was held back, with replacement characters where a character is incomplete."""
        before, now = self._decode()
        self._ids, self._shown, self._from = [], 0, 0
        return now[len(before) :]
