# SPDX-License-Identifier: Apache-2.0
"""A chat template as the texts around a question: the device has no engine for templates."""

from __future__ import annotations

from dataclasses import dataclass

from host.errors import HostError
from host.files.source import Tokenizer
from host.image.text.pattern import Unsupported
from host.tokens.chat_template import ChatTemplate
from host.tokens.sandbox import SandboxError
from host.tokens.tokenizer import codec_of


@dataclass(frozen=True)
class Roles:
    """The texts around a question; ``next`` is None where a conversation cannot go on."""

    first: str
    suffix: str
    end: str = ""
    next: str | None = None


def find_roles(tokenizer: Tokenizer) -> Roles:
    """The chat template rendered to the texts around a question. Raises Unsupported where it is not of that form.

    One that breaks the limits of the sandbox is no matter of form: that is the tokenizer's refusal.
    """
    if not tokenizer.chat_template:
        return Roles("".join(token or "" for token in codec_of(tokenizer).tokens(tokenizer.start)), "")
    try:
        # Without a clock: the same model gives the same image tomorrow.
        template = ChatTemplate(tokenizer.chat_template, tokenizer.special, clock=False, refusal=tokenizer.refusal)
        one = template.render([{"role": "user", "content": "question-1"}])
        asked, said = {"role": "user", "content": "question-1"}, {"role": "assistant", "content": "answer-1"}
        two = template.render([asked, said, {"role": "user", "content": "question-2"}])
    except HostError as error:
        if isinstance(error.__cause__, SandboxError) and error.__cause__.harmful:
            raise
        raise Unsupported(str(error)) from error
    first, mark, suffix = one.partition("question-1")
    if not mark or "question-1" in suffix:
        raise Unsupported("its chat template does not put a question between two fixed texts")
    ends = [token or "" for token in codec_of(tokenizer).tokens(tokenizer.stop_ids)]
    return Roles(first, suffix, *_next_turn(one, two, suffix, ends))


def _next_turn(one: str, two: str, suffix: str, ends: list[str]) -> tuple[str, str | None]:
    """What stands between an answer and the next question: the stop token that ends the answer, and the rest."""
    held = one + "answer-1"
    if not two.startswith(held) or not two.endswith("question-2" + suffix):
        return "", None
    between = two[len(held) : -len("question-2" + suffix)]
    end = next((text for text in ends if text and between.startswith(text)), "")
    return end, between[len(end) :]
