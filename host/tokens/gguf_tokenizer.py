# SPDX-License-Identifier: Apache-2.0
"""The tokenizer in a GGUF's metadata as an equivalent tokenizer.json.

Four models occur: "gpt2", byte-level BPE with ranked merges, and "llama", SentencePiece BPE with scores and byte
fallback, which give what llama.cpp gives; the ways of cutting are in splits.py. "bert", WordPiece, and "t5", Unigram,
give what the models' own tokenizer.json gives, which llama.cpp approximates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from host.errors import SourceError
from host.files.fields import Fields, is_unicode
from host.files.source import Tokenizer
from host.tokens.splits import BY_NAME, SPACE, byte_level, sentence_piece, unigram, word_piece
from host.tokens.tokenizer import Codec, stop_ids
from host.words import shown

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
MAX_MERGES_A_PIECE = 64
SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask"}
"""Names of special tokens, and in GGUF's keys."""
CONTROL_WORDS = frozenset(
    (
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>"),
        *("<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<eos>"),
        *("<end_of_utterance>", "<turn|>", "<|tool_response>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "[e~["),
    )
)
"""Texts that are control tokens whatever kind the file gives them, as in llama.cpp."""
SENTENCE_PIECE_IDS = {"bos": 1, "eos": 2, "unk": 0}
"""What they are where a SentencePiece vocabulary does not say."""


def _texts(fields: Fields, key: str) -> list[str]:
    """A metadata list of texts that are UTF-8. Raises SourceError otherwise."""
    value = fields.values.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise SourceError(f"{fields.where}: {key} is missing or no list of texts; convert the model again")
    broken = next((each for each in value if not each.isascii() and not is_unicode(each)), None)
    if broken is not None:
        raise SourceError(f"{fields.where}: {key} holds {broken!r}, which is not UTF-8; the file is damaged")
    return value


def _numbers(fields: Fields, key: str, count: int, default: float) -> list[Any]:
    """A metadata list of so many numbers, or the default for each."""
    value = fields.values.get(key)
    if value is None:
        return [default] * count
    if not isinstance(value, list) or len(value) != count or not all(isinstance(each, (int, float)) for each in value):
        raise SourceError(f"{fields.where}: {key} does not hold one number for each of {count} tokens; damaged")
    return value


def _add_special(facts: dict[str, Any], tokens: list[str], kinds: list[int]) -> None:
    """Control and unknown tokens become special, user-defined ones whole words; their ids are the vocabulary's."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    facts["added_tokens"] = [
        {"id": index, "content": token, **flags, "special": kind != USER_DEFINED}
        for index, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (CONTROL, USER_DEFINED, UNKNOWN) and token
    ]


def _byte_level(fields: Fields, tokens: list[str]) -> dict[str, Any]:
    """Byte-level BPE from tokens and ranked merges."""
    kind = fields.text("tokenizer.ggml.pre", "default")
    if kind not in BY_NAME:
        raise SourceError(
            f"{fields.where}: pre-tokenizer {shown(kind, 40)!r} is not known; known are {', '.join(BY_NAME)}; take the "
            "model as safetensors with its tokenizer.json"
        )
    # The first of equal merges counts.
    merges = list(dict.fromkeys(tuple(merge.split(" ")) for merge in _texts(fields, "tokenizer.ggml.merges")))
    if any(len(merge) != 2 for merge in merges):
        raise SourceError(f"{fields.where}: tokenizer.ggml.merges holds one that is no pair; the file is damaged")
    return byte_level(_index(tokens, fields.where), merges, BY_NAME[kind])


def _index(tokens: list[str], where: str) -> dict[str, int]:
    """Token to id. Raises SourceError on a token that stands there twice."""
    index = {token: number for number, token in enumerate(tokens)}
    if len(index) != len(tokens):
        twice = next(token for number, token in enumerate(tokens) if index[token] != number)
        raise SourceError(
            f"{where}: token {shown(twice, 40)!r} stands in the vocabulary twice; convert the model again"
        )
    return index


def score_ranks(scores: list[float]) -> list[int]:
    """By id, the place of a piece's score among all scores: 0 the best, the same for equal ones."""
    place = {score: rank for rank, score in enumerate(sorted(set(scores), reverse=True))}
    return [place[score] for score in scores]


def score_merges(tokens: list[str], ranks: list[int], kinds: list[int]) -> list[tuple[str, str]]:
    """Merges that a SentencePiece BPE does, best first: each split of a piece in two pieces, by its rank.

    llama.cpp merges any two neighbours that make a token, of whatever kind. Bytes are no part of one: their tokens
    stand for bytes, not for the characters of their names.
    """
    known = {token for token, kind in zip(tokens, kinds, strict=True) if kind != BYTE}
    found: list[tuple[int, int, int, str, str]] = []
    for number, token in enumerate(tokens):
        if kinds[number] == BYTE or len(token) > MAX_MERGES_A_PIECE:
            continue
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in known and right in known:
                found.append((ranks[number], number, -cut, left, right))
    found.sort()
    return [(left, right) for *_, left, right in found]


def _sentence_piece(fields: Fields, tokens: list[str], kinds: list[int]) -> tuple[dict[str, Any], list[int]]:
    """SentencePiece BPE with byte fallback from tokens and scores, and the pieces' ranks."""
    scores = _numbers(fields, "tokenizer.ggml.scores", len(tokens), 0.0)
    if any(math.isnan(score) for score in scores):
        raise SourceError(f"{fields.where}: tokenizer.ggml.scores holds what is no number; the file is damaged")
    ranks = score_ranks(scores)
    unknown = fields.integer("tokenizer.ggml.unknown_token_id", 0, low=0, high=len(tokens) - 1)
    prefixed = fields.flag("tokenizer.ggml.add_space_prefix", True)
    merges = score_merges(tokens, ranks, kinds)
    return sentence_piece(_index(tokens, fields.where), merges, tokens[unknown], prefixed), ranks


def _word_piece(fields: Fields, tokens: list[str], kinds: list[int]) -> dict[str, Any]:
    """BERT's WordPiece. The file writes what begins a word with U+2581 before it, and what goes on without ##.

    Nothing in the file says whether texts become lower case: they do where no token has a capital letter.
    """
    normal = [token if kind == NORMAL else None for token, kind in zip(tokens, kinds, strict=True)]
    written = [
        token if shown is None else shown.removeprefix(SPACE) if shown.startswith(SPACE) else f"##{shown}"
        for token, shown in zip(tokens, normal, strict=True)
    ]
    unknown = fields.integer("tokenizer.ggml.unknown_token_id", 100, low=0, high=len(tokens) - 1)
    lower = not any(token != token.lower() for token in normal if token)
    return word_piece(_index(written, fields.where), written[unknown], lower)


def _unigram(fields: Fields, tokens: list[str]) -> dict[str, Any]:
    """SentencePiece's Unigram, with its own table of normalization where the file has it."""
    scores = _numbers(fields, "tokenizer.ggml.scores", len(tokens), 0.0)
    if not all(math.isfinite(score) for score in scores):
        raise SourceError(f"{fields.where}: tokenizer.ggml.scores holds what is no number; the file is damaged")
    table = fields.values.get("tokenizer.ggml.precompiled_charsmap") or []
    if not isinstance(table, list) or not all(isinstance(each, int) and -128 <= each < 256 for each in table):
        raise SourceError(f"{fields.where}: tokenizer.ggml.precompiled_charsmap holds no bytes; the file is damaged")
    unknown = fields.integer("tokenizer.ggml.unknown_token_id", 2, low=0, high=len(tokens) - 1)
    prefixed = fields.flag("tokenizer.ggml.add_space_prefix", True)
    words = fields.flag("tokenizer.ggml.remove_extra_whitespaces", False)
    vocab = list(zip(tokens, map(float, scores), strict=True))
    return unigram(vocab, unknown, bytes(each & 255 for each in table), prefixed, words)


def gguf_tokenizer(metadata: Mapping[str, Any], where: str) -> Tokenizer | None:
    """The tokenizer in a GGUF's metadata; None when there is none. Raises SourceError when it cannot be rebuilt."""
    fields = Fields(metadata, where)
    if not fields.has("tokenizer.ggml.model"):
        return None
    model = fields.choice("tokenizer.ggml.model", ("gpt2", "llama", "bert", "t5"))
    tokens = [token or f"[EMPTY_{i}]" for i, token in enumerate(_texts(fields, "tokenizer.ggml.tokens"))]
    kinds = _numbers(fields, "tokenizer.ggml.token_type", len(tokens), NORMAL)
    kinds = [CONTROL if token in CONTROL_WORDS else kind for token, kind in zip(tokens, kinds, strict=True)]
    ranks = None
    begins = model in ("llama", "bert")
    if model == "gpt2":
        facts = _byte_level(fields, tokens)
        begins = BY_NAME[fields.text("tokenizer.ggml.pre", "default")].bos
    elif model == "llama":
        facts, ranks = _sentence_piece(fields, tokens, kinds)
    elif model == "bert":
        facts = _word_piece(fields, tokens, kinds)
    else:
        facts = _unigram(fields, tokens)
    _add_special(facts, tokens, kinds)
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    codec = Codec(text, f"{where}: what its vocabulary and merges make", ranks)
    return _finish(fields, codec, text, ranks, tokens, begins)


def _finish(
    fields: Fields, codec: Codec, text: str, ranks: list[int] | None, tokens: list[str], begins: bool
) -> Tokenizer:
    """Ids and texts of the special tokens, stop ids, chat template. ``begins``: texts start with bos by default."""
    pieces = ranks is not None
    ids = {name: index for name, index in SENTENCE_PIECE_IDS.items() if pieces and index < len(tokens)}
    for ours, theirs in SPECIAL.items():
        key = f"tokenizer.ggml.{theirs}_token_id"
        if fields.has(key):
            ids[ours] = fields.integer(key, low=0, high=len(tokens) - 1)
    ends = [ids.get("eos"), *(fields.values.get(f"tokenizer.ggml.{end}_token_id") for end in ("eot", "eom"))]
    template = fields.text("tokenizer.chat_template") if fields.has("tokenizer.chat_template") else None
    return Tokenizer(
        json=text,
        bos=ids.get("bos"),
        stop_ids=stop_ids(codec, ends),
        chat_template=template,
        special={f"{name}_token": tokens[index] for name, index in ids.items()},
        add_bos=fields.flag("tokenizer.ggml.add_bos_token", begins) and "bos" in ids,
        ranks=None if ranks is None else tuple(ranks),
    )
