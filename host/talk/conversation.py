# SPDX-License-Identifier: Apache-2.0
"""A conversation by the image's chat template, on a session of a device."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from host.choices import choices
from host.errors import DeviceFailure, UsageError
from host.link.records import SamplerParams
from host.streams import typed
from host.talk.answer import Answer
from host.talk.opening import LoadedModel
from host.talk.text_session import Progress, TextSession
from host.tokens.chat_template import ChatFormatter
from host.words import shown


class Conversation(TextSession):
    """Turns by the image's chat template; each sends only what is new. SourceError where the image has no template."""

    def __init__(
        self,
        model: LoadedModel,
        params: SamplerParams,
        max_tokens: int,
        stops: tuple[str, ...] = (),
        system: str | None = None,
    ) -> None:
        super().__init__(model, params, max_tokens, stops)
        self.system = typed(system) if system else system
        self.messages: list[dict[str, str]] = []
        self._formatter = ChatFormatter(model.tokenizer)
        self._before: tuple[str, int | None] = ("", None)
        """What the session held before the last question: as text, and in tokens."""
        self.reset()

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []
        self._formatter.reset()
        self._before = ("", None)

    def ask(self, text: str, progress: Progress | None = None) -> Answer:
        """Say something. Iterate the answer to its end, then call ``answered``."""
        messages = [*self.messages, {"role": "user", "content": typed(text)}]
        before = (self._formatter.held, self.client.ledger.lengths.get(0))
        try:
            turn = self._formatter.turn(messages)
            if turn.restart:
                self.client.truncate(0)
            answer = self.complete(turn.ids, progress)
        except BaseException:
            self._formatter.reset()
            raise
        self.messages = messages
        self._before = ("", None) if turn.restart else before
        return answer

    def answered(self, answer: Answer) -> None:
        """Keep the answer as a part of the conversation."""
        if answer.stopped_by_text:
            # The session holds more than was shown: the next turn begins it anew.
            self._formatter.reset()
            self.messages.append({"role": "assistant", "content": answer.text})
            return
        self._formatter.answered(answer.run.tokens)
        said = [token for token in answer.run.tokens if token not in answer.stop_ids]
        text = self._text.decode(said)
        self.messages.append({"role": "assistant", "content": text})

    def unanswered(self) -> None:
        """Take back the last question, whose answer failed; the next turn begins the session anew."""
        if self.messages and self.messages[-1]["role"] == "user":
            self.messages.pop()
        self._formatter.reset()

    def take_back(self) -> str:
        """Take back the last question and its answer, for the question to be asked again. Returns the question.

        The session goes back to where it was before it, if the device can. UsageError where nothing was asked.
        """
        asked = [i for i, one in enumerate(self.messages) if one["role"] == "user"]
        if not asked:
            raise UsageError("nothing was asked yet")
        question = self.messages[asked[-1]]["content"]
        self.messages = self.messages[: asked[-1]]
        held, length = self._before
        self._formatter.reset()
        if length is not None and held:
            with suppress(DeviceFailure):
                self.client.truncate(length)
                self._formatter.held = held
        self._before = ("", None)
        return question

    def set_system(self, text: str | None) -> None:
        """Begin anew with another system message.

        SourceError or ImageError, and nothing changes, where the template takes none.
        """
        text = typed(text) if text else None
        said = [{"role": "system", "content": text}] if text else []
        self._formatter.reset()
        try:
            self._formatter.turn([*said, {"role": "user", "content": "?"}])
        finally:
            self._formatter.reset()
        self.system = text
        self.reset()

    def set_params(self, **changes: float) -> None:
        """Change sampling parameters by name. UsageError for an unknown one."""
        try:
            self.params = replace(self.params, **changes)  # type: ignore[arg-type]
        except TypeError as error:
            known = SamplerParams.__dataclass_fields__
            word = next((name for name in changes if name not in known), "")
            raise UsageError(f"unknown parameter {shown(word)}; {choices(word, known)}") from error
