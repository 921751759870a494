# SPDX-License-Identifier: Apache-2.0
"""A session of a device as text: prompts in, answers out."""

from __future__ import annotations

from collections.abc import Callable

from host.errors import UsageError
from host.link.records import SamplerParams
from host.schema.wire.constants import MAX_STOP_IDS
from host.streams import typed
from host.talk.answer import Answer
from host.talk.opening import LoadedModel
from host.tokens.chat_template import TextStream, encode_prompt
from host.tokens.tokenizer import codec_of

Progress = Callable[[int, int], None]


class TextSession:
    """Session 0 of a device that runs a known model, as text: prompts in, answers out."""

    def __init__(self, model: LoadedModel, params: SamplerParams, max_tokens: int, stops: tuple[str, ...] = ()) -> None:
        self.model = model
        self.client = model.client
        self.params = params
        self.max_tokens = max_tokens
        self.digest = False
        stops = tuple(map(typed, stops))
        if "" in stops:
            raise UsageError("a stop text is empty, which would end every answer at once; leave --stop out")
        self._text = codec_of(model.tokenizer)
        self._stops, self._stop_ids = self._split_stops(stops)

    def _split_stops(self, stops: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Special tokens become stop ids, as many as a request takes.

        Other stop texts are watched for, as their characters may be parts of many tokens.
        """
        ids = list(self.model.tokenizer.stop_ids)
        texts = []
        for stop, token in zip(stops, self._text.ids(stops) if stops else (), strict=True):
            if token is None or token not in self._text.special or len(ids) >= MAX_STOP_IDS:
                texts.append(stop)
            else:
                ids.append(token)
        return tuple(texts), tuple(ids)

    def complete(self, ids: list[int], progress: Progress | None = None) -> Answer:
        """Append tokens to the session and answer. UsageError where they do not fit the context."""
        info, length = self.client.info, self.client.length()
        if not info.overflow and length + len(ids) >= info.context:
            raise UsageError(
                f"{len(ids)} tokens do not fit: {min(length, info.context)} of {info.context} positions are used; "
                "shorten the prompt, reset the conversation, or pack the image with a longer --context"
            )
        self.client.prompt(ids)
        run = self.client.generate(self.max_tokens, self.params, self._stop_ids, digest=self.digest, progress=progress)
        return Answer(run, self._stop_ids, TextStream(self._text), self._stops)

    def resume(self) -> Answer:
        """The answer that the device is making or made last, from its beginning. After ``open_model(resume=True)``."""
        return Answer(self.client.resume(), self._stop_ids, TextStream(self._text), self._stops)

    def complete_text(self, text: str, progress: Progress | None = None) -> Answer:
        """Continue a plain text, from an empty session. UsageError where there is nothing to begin from."""
        tokenizer = self.model.tokenizer
        if not text and not (tokenizer.add_bos and tokenizer.bos is not None):
            raise UsageError("the prompt is empty, and this model has no start token to begin from; give it a word")
        self.client.truncate(0)
        return self.complete(encode_prompt(self.model.tokenizer, typed(text)), progress)
