# SPDX-License-Identifier: Apache-2.0
"""Tokens that a tokenizer has and the model has no embedding for: dropped where nothing but added ones are."""

from __future__ import annotations

import json

from host.files.source import Tokenizer
from host.foreign import parse_json
from host.words import shown

MAX_JSON = 256 << 20
MAX_DROPPED = 64


def drop_beyond(tokenizer: Tokenizer, vocab: int) -> list[str]:
    """Take added tokens with ids of ``vocab`` and above out of a tokenizer; a line for each that says so.

    A fine-tune often adds a <pad> that was never given an embedding: transformers runs it as long as the token does
    not occur. Nothing is changed where the vocabulary itself goes beyond, or more than a few tokens do.
    """
    try:
        facts = parse_json(tokenizer.json, MAX_JSON)
        added = facts["added_tokens"]
        beyond = [token for token in added if token["id"] >= vocab]
        if not beyond or len(beyond) > MAX_DROPPED or max(facts["model"]["vocab"].values(), default=0) >= vocab:
            return []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []  # whatever it is, it is said by those who read it
    facts["added_tokens"] = [token for token in added if token["id"] < vocab]
    tokenizer.json = json.dumps(facts, ensure_ascii=False)
    tokenizer.stop_ids = tuple(index for index in tokenizer.stop_ids if index < vocab)
    if tokenizer.bos is not None and tokenizer.bos >= vocab:
        tokenizer.bos, tokenizer.add_bos = None, False
    return [
        f"token {shown(str(token['content']), 40)} ({token['id']}) is left out: the model has embeddings for {vocab}"
        for token in beyond
    ]
