# SPDX-License-Identifier: Apache-2.0
"""The tokenizer in a GGUF's metadata as an equivalent tokenizer.json.

Two models occur: "gpt2", byte-level BPE with ranked merges, and "llama", SentencePiece BPE with scores and byte
fallback. The pre-tokenizers' names are llama.cpp's, the patterns those of the models' own tokenizer.json files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from host.errors import SourceError
from host.importer.fields import Fields, is_unicode
from host.importer.source import Tokenizer
from host.importer.tokenizer import stop_ids

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
MAX_MERGES_A_PIECE = 64
SPACE = "\u2581"

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = _CONTRACTIONS + _WORDS + r"\p{N}{1,3}" + _REST
QWEN2 = _CONTRACTIONS + _WORDS + r"\p{N}" + _REST


def _bytes(use_regex: bool) -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def _split(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _pre_tokenizer(kind: str) -> Any:
    """The pre-tokenizer of a family of names; KeyError for one that is not known."""
    makers: dict[str, Any] = {
        "gpt-2": lambda: _bytes(True),
        "smollm": lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _bytes(True)]),
        "llama-bpe": lambda: pre_tokenizers.Sequence([_split(LLAMA3), _bytes(False)]),
        "qwen2": lambda: pre_tokenizers.Sequence([_split(QWEN2), _bytes(False)]),
        "default": lambda: pre_tokenizers.Sequence(
            [_split(r"[\p{P}\$\+<=>\^~\|]+"), _bytes(True), _split(r"\p{N}{1,3}")]
        ),
    }
    return makers[ALIASES[kind]]()


ALIASES = {
    "gpt-2": "gpt-2",
    "gpt2": "gpt-2",
    "olmo": "gpt-2",
    "phi-2": "gpt-2",
    "smollm": "smollm",
    "starcoder": "smollm",
    "refact": "smollm",
    "command-r": "smollm",
    "codeshell": "smollm",
    "llama-bpe": "llama-bpe",
    "llama3": "llama-bpe",
    "llama-v3": "llama-bpe",
    "qwen2": "qwen2",
    "deepseek-r1-qwen": "qwen2",
    "stablelm2": "qwen2",
    "default": "default",
}
"""Names in tokenizer.ggml.pre, and which of the pre-tokenizers above splits the same way."""


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


def _add_special(tokenizer: tokenizers.Tokenizer, tokens: list[str], kinds: list[int]) -> None:
    """Control tokens become special, user-defined ones whole words; their ids are the vocabulary's."""
    added = [
        AddedToken(token, special=kind == CONTROL, normalized=False)
        for token, kind in zip(tokens, kinds, strict=True)
        if kind in (CONTROL, USER_DEFINED) and token
    ]
    tokenizer.add_tokens([token for token in added if not token.special])
    tokenizer.add_special_tokens([token for token in added if token.special])


def _byte_level(fields: Fields, tokens: list[str]) -> tokenizers.Tokenizer:
    """Byte-level BPE from tokens and ranked merges."""
    kind = fields.text("tokenizer.ggml.pre", "default")
    if kind not in ALIASES:
        raise SourceError(
            f"{fields.where}: pre-tokenizer {kind[:40]!r} is not known; known are {', '.join(ALIASES)}; take the "
            "model as safetensors with its tokenizer.json"
        )
    merges = [tuple(merge.split(" ")) for merge in _texts(fields, "tokenizer.ggml.merges")]
    if any(len(merge) != 2 for merge in merges):
        raise SourceError(f"{fields.where}: tokenizer.ggml.merges holds one that is no pair; the file is damaged")
    whole_words = ALIASES[kind] == "llama-bpe"
    bpe = models.BPE(vocab=_index(tokens, fields.where), merges=merges, ignore_merges=whole_words)  # type: ignore[arg-type]
    tokenizer = tokenizers.Tokenizer(bpe)
    tokenizer.pre_tokenizer = _pre_tokenizer(kind)
    tokenizer.decoder = decoders.ByteLevel()
    if ALIASES[kind] == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _index(tokens: list[str], where: str) -> dict[str, int]:
    """Token to id. Raises SourceError on a token that stands there twice."""
    index = {token: number for number, token in enumerate(tokens)}
    if len(index) != len(tokens):
        twice = next(token for number, token in enumerate(tokens) if index[token] != number)
        raise SourceError(f"{where}: token {twice[:40]!r} stands in the vocabulary twice; convert the model again")
    return index


def score_merges(tokens: list[str], scores: list[float], kinds: list[int]) -> list[tuple[str, str]]:
    """Merges that a SentencePiece BPE does, best first: each split of a piece in two pieces, by its score."""
    rank = {token: number for number, token in enumerate(tokens) if kinds[number] in (NORMAL, USER_DEFINED, UNUSED)}
    found: list[tuple[float, int, int, str, str]] = []
    for token, number in rank.items():
        if kinds[number] != NORMAL or len(token) > MAX_MERGES_A_PIECE:
            continue
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in rank and right in rank:
                found.append((-scores[number], number, cut, left, right))
    found.sort()
    return [(left, right) for *_, left, right in found]


def _sentence_piece(fields: Fields, tokens: list[str], kinds: list[int]) -> tokenizers.Tokenizer:
    """SentencePiece BPE with byte fallback from tokens and scores."""
    scores = _numbers(fields, "tokenizer.ggml.scores", len(tokens), 0.0)
    unknown = fields.integer("tokenizer.ggml.unknown_token_id", 0, low=0, high=len(tokens) - 1)
    bpe = models.BPE(
        vocab=_index(tokens, fields.where),
        merges=score_merges(tokens, scores, kinds),
        unk_token=tokens[unknown],
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = tokenizers.Tokenizer(bpe)
    prefixed = fields.flag("tokenizer.ggml.add_space_prefix", True)
    first = [normalizers.Prepend(SPACE)] if prefixed else []
    tokenizer.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", SPACE)])
    last = [decoders.Strip(" ", 1, 0)] if prefixed else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *last]
    )
    return tokenizer


def gguf_tokenizer(metadata: Mapping[str, Any], where: str) -> Tokenizer | None:
    """The tokenizer in a GGUF's metadata; None when there is none. Raises SourceError when it cannot be rebuilt."""
    fields = Fields(metadata, where)
    if not fields.has("tokenizer.ggml.model"):
        return None
    model = fields.choice("tokenizer.ggml.model", ("gpt2", "llama"))
    tokens = _texts(fields, "tokenizer.ggml.tokens")
    kinds = _numbers(fields, "tokenizer.ggml.token_type", len(tokens), NORMAL)
    try:
        built = _byte_level(fields, tokens) if model == "gpt2" else _sentence_piece(fields, tokens, kinds)
    except (ValueError, TypeError) as error:
        raise SourceError(f"{where}: vocabulary and merges do not fit each other: {error}; damaged") from error
    except SourceError:
        raise
    except Exception as error:  # the library raises bare Exceptions
        raise SourceError(f"{where}: the tokenizer cannot be rebuilt: {error}; the file is damaged") from error
    _add_special(built, tokens, kinds)
    return _finish(fields, built, tokens, model)


def _finish(fields: Fields, built: tokenizers.Tokenizer, tokens: list[str], model: str) -> Tokenizer:
    """Ids and texts of the special tokens, stop ids, chat template."""
    ids: dict[str, int] = {}
    for ours, theirs in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        key = f"tokenizer.ggml.{theirs}_token_id"
        if fields.has(key):
            ids[f"{ours}_token"] = fields.integer(key, low=0, high=len(tokens) - 1)
    ends = [fields.values.get(f"tokenizer.ggml.{end}_token_id") for end in ("eos", "eot", "eom")]
    template = fields.text("tokenizer.chat_template") if fields.has("tokenizer.chat_template") else None
    return Tokenizer(
        json=str(built.to_str()),
        bos=ids.get("bos_token"),
        stop_ids=stop_ids(built, ends),
        chat_template=template,
        special={name: tokens[index] for name, index in ids.items()},
        add_bos=fields.flag("tokenizer.ggml.add_bos_token", model == "llama") and "bos_token" in ids,
    )
