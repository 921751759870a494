# SPDX-License-Identifier: Apache-2.0
"""Random texts that trip tokenizers up, vocabularies whose merges cross every cut, and tokenizing by its description.

The references here share no code with the host: cuts by the module ``regex``, merges by looking at all pairs each time.
"""

from __future__ import annotations

import functools
import json
import random
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.support.texts import CORPUS, SPECIAL

SPACE = "\u2581"
POOLS = (
    "abcdefghijklmnopqrstuvwxyz" * 2,
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789",
    "     \t\n\n\r\u00a0\u3000\u2028",
    ".,;:!?'\"()[]{}<>|/\\@#$%^&*-_=+`~",
    "\u00e4\u00f6\u00fc\u00df\u00e9\u00e8\u0142\u00f1\u00e7\u0131\u00c4\u00d6\u0141",
    "\u0430\u0431\u0432\u0433\u0434\u0435\u0436\u0410\u0411\u0412",
    "\u03b1\u03b2\u03b3\u0394\u03a9",
    "\u4e00\u4eba\u6771\u4eac\u6f22\u5b57\u3042\u3044\u30a2\u30f3",
    "\uac00\ub098\ub2e4",
    "\u0e2a\u0e27\u0e31\u0e14\u0e35",
    "\u05e9\u05dc\u05d5\u05dd\u0645\u0631\u062d\u0628\u0627",
    "\u0915\u093e\u0928\u0958",
    "\u0300\u0301\u0308\u20dd",
    "\u00b2\u00b3\u00b9\u00bd\u00bc\u0663\u0664\u2167",
    "\u2014\u2018\u2019\u201c\u201d\u2026\u00ab\u00bb\u3002\uff0c\uff01",
    "\u20ac\u00a3\u00b0\u00a9\u2192\u221e\u2581",
    "\U0001f642\U0001f1e9\U0001f1ea\U0001f468\u200d\ufe0f",
)
WORDS = (
    *(
        "the",
        " the",
        "The",
        " quick",
        "it's",
        "IT'S",
        "don't",
        "we'LL",
        "12345",
        " 1999-12-31",
        "x = 3.14",
        "\r\n",
        "\n\n",
    ),
    *(
        "    ",
        "\t\t",
        "...",
        "===",
        "!!!",
        "e\u0301",
        "\u0958",
        "def f(x):\n    return",
        "http://a.b/c?d=1",
        "<|im_start|>",
    ),
    *(
        "<|im_end|>",
        "<|endoftext|>",
        "<|im_start|",
        "|im_end|>",
        "<|im_end|><|im_start|>user\n",
        "<s>",
        "</s>",
        "<unk>",
    ),
    *(
        "<0x41>",
        "<0x0A>",
        "\u2581the",
        "\u2581\u2581",
        "camelCaseWord",
        "HTTPServer",
        "na\u00efve caf\u00e9",
        "\u1f04\u03bd",
    ),
)


def random_texts(seed: int, count: int) -> list[str]:
    """So many texts of mixed scripts, white space, digits, emoji and what looks like special tokens; some are long."""
    rng = random.Random(seed)
    return [_random_text(rng, 8 if rng.random() < 0.95 else 60) for _ in range(count)]


def _random_text(rng: random.Random, most: int) -> str:
    parts = []
    for _ in range(rng.randrange(1, most)):
        if rng.random() < 0.35:
            parts.append(rng.choice(WORDS))
            continue
        pool = rng.choice(POOLS) + (rng.choice(POOLS) if rng.random() < 0.4 else "")
        parts.append("".join(rng.choice(pool) for _ in range(rng.randrange(1, 9))))
    return rng.choice(("", "", " ")).join(parts)


BLOCKS = (
    *((0x0, 0x80), (0x80, 0x250), (0x300, 0x370), (0x590, 0x700), (0x900, 0xE00), (0x1100, 0x1200), (0x1E00, 0x2070)),
    *((0x2070, 0x2200), (0x2E80, 0x3400), (0x4E00, 0x4F00), (0xA960, 0xA980), (0xAC00, 0xD800), (0xE000, 0xE010)),
    *((0xF900, 0xFB50), (0xFE00, 0x10000), (0x1D150, 0x1D250), (0x1F1E0, 0x1F200), (0x1F300, 0x1F700)),
    *((0x2F800, 0x2FA20), (0xE0000, 0xE0200), (0x10FFF0, 0x110000)),
)
"""Where characters have forms, marks, clusters or no meaning."""


def wild_texts(seed: int, count: int) -> list[str]:
    """As random_texts, every third one with characters from anywhere."""
    rng = random.Random(seed)
    return [_random_text(rng, 8) if i % 3 else _wild_text(rng) for i in range(count)]


def _wild_text(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.randrange(1, 8)):
        first, end = rng.choice(BLOCKS)
        other, last = rng.choice(BLOCKS)
        codes = [rng.randrange(first, end) if rng.random() < 0.7 else rng.randrange(other, last) for _ in range(5)]
        parts.append("".join(map(chr, codes[: rng.randrange(1, 6)])))
        if rng.random() < 0.3:
            parts.append(rng.choice(WORDS))
    return "".join(parts)


@functools.cache
def crossing(size: int = 900) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tokens and merges of a byte-level BPE that was trained on whole lines: wherever a cut is missing, ids differ."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator([*CORPUS * 3, *random_texts(99, 1500)], trainer)
    facts = json.loads(trained.to_str())["model"]
    tokens = [token for token, _ in sorted(facts["vocab"].items(), key=lambda item: item[1])]
    return tuple(tokens), tuple(" ".join(merge) for merge in facts["merges"])


def gguf_bytes(pre: str | None, **more: Any) -> dict[str, Any]:
    """GGUF metadata of the crossing vocabulary."""
    tokens, merges = crossing()
    keys = {"model": "gpt2", "pre": pre, "tokens": list(tokens), "merges": list(merges)}
    keys |= {"token_type": [3] * 4 + [1] * (len(tokens) - 4), "bos_token_id": 3, "eos_token_id": 0} | more
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items() if value is not None}


# ---- by description ----


def byte_characters() -> list[str]:
    """By byte, the character that stands for it in byte-level BPE."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return [chr(byte) if byte in kept else chr(256 + others.index(byte)) for byte in range(256)]


def special_tokens(metadata: Mapping[str, Any]) -> list[str]:
    """Those that are found in a text before anything else."""
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    return [token for token, kind in zip(tokens, kinds, strict=True) if kind in (2, 3, 4) or token == "</s>"]


def cut_at(text: str, tokens: Sequence[str]) -> list[tuple[str, bool]]:
    """Pieces of a text and whether each is one of the tokens: leftmost, of those the longest."""
    ordered, out, start, at = sorted(tokens, key=len, reverse=True), [], 0, 0
    while at < len(text):
        found = next((token for token in ordered if text.startswith(token, at)), None)
        if found is None:
            at += 1
            continue
        out += [(text[start:at], False), (found, True)]
        start = at = at + len(found)
    return [piece for piece in [*out, (text[start:], False)] if piece[0]]


def cut_by(text: str, patterns: Sequence[str]) -> list[str]:
    """A text cut by each pattern in turn: matches and what lies between them."""
    import regex

    pieces = [text]
    for pattern in patterns:
        compiled, cut = regex.compile(pattern), []
        for piece in pieces:
            at = 0
            for match in compiled.finditer(piece):
                cut += [piece[at : match.start()], match[0]]
                at = match.end()
            cut.append(piece[at:])
        pieces = [piece for piece in cut if piece]
    return pieces


def merge_by(symbols: list[str], rank: Mapping[tuple[str, str], int]) -> list[str]:
    """Merge the pair of the lowest rank, of equals the leftmost, until there is none."""
    while True:
        pairs = [(rank[pair], at) for at in range(len(symbols) - 1) if (pair := (symbols[at], symbols[at + 1])) in rank]
        if not pairs:
            return symbols
        _, at = min(pairs)
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


class ByteReference:
    """Byte-level BPE as its description says, from GGUF metadata and patterns."""

    def __init__(self, metadata: Mapping[str, Any], patterns: Sequence[str], whole: bool, nfc: bool) -> None:
        self.tokens = metadata["tokenizer.ggml.tokens"]
        self.index = {token: i for i, token in enumerate(self.tokens)}
        merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
        self.rank = {pair: i for i, pair in reversed(list(enumerate(merges)))}
        self.special = special_tokens(metadata)
        self.patterns, self.whole, self.nfc = patterns, whole, nfc
        self.characters = byte_characters()

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
        ids = []
        for piece, special in cut_at(text, self.special):
            if special:
                ids.append(self.index[piece])
                continue
            for word in cut_by(unicodedata.normalize("NFC", piece) if self.nfc else piece, self.patterns):
                symbols = [self.characters[byte] for byte in word.encode()]
                known = self.index.get("".join(symbols)) if self.whole else None
                ids += [known] if known is not None else [self.index[each] for each in merge_by(symbols, self.rank)]
        return ids


class PieceReference:
    """SentencePiece BPE as llama.cpp does it: of all neighbours that make a token the one of the best score first."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.tokens = metadata["tokenizer.ggml.tokens"]
        self.index = {token: i for i, token in enumerate(self.tokens)}
        self.scores = metadata.get("tokenizer.ggml.scores") or [0.0] * len(self.tokens)
        self.special = special_tokens(metadata)
        self.prefix = metadata.get("tokenizer.ggml.add_space_prefix", True)

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
        ids = []
        for piece, special in cut_at(text, self.special):
            if special:
                ids.append(self.index[piece])
                continue
            for symbol in self._merged(list(((" " if self.prefix else "") + piece).replace(" ", SPACE))):
                known = self.index.get(symbol)
                ids += [known] if known is not None else [self.index[f"<0x{byte:02X}>"] for byte in symbol.encode()]
        return ids

    def _merged(self, symbols: list[str]) -> list[str]:
        while True:
            best, at = None, -1
            for i in range(len(symbols) - 1):
                index = self.index.get(symbols[i] + symbols[i + 1])
                if index is not None and (best is None or self.scores[index] > best):
                    best, at = self.scores[index], i
            if best is None:
                return symbols
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


def gguf_pieces(kinds: Mapping[str, int] | None = None, scores: str = "ranked", prefix: bool = True) -> dict[str, Any]:
    """GGUF metadata of a SentencePiece vocabulary with runs of spaces and signs.

    kinds: token to another kind. scores: "ranked" (all different), "equal", "groups" of five, or "none".
    """
    words = ["the", "he", "th", "in", "er", "an", "re", "on", "==", "...", "..", "===", "!!", ";", "you", "qu", "ick"]
    words += ["and", "12", "123", "1999", "im", "start", "end", "user"]
    merged = [SPACE * n for n in (2, 3, 4, 8)] + [SPACE + word for word in ("t", "th", "the", "a", "q", "==")] + words
    merged += ["aa", "aba", "ab", "ba", "aaa", "aaaa", "\u00e9\u00e8", "\u6771\u4eac", SPACE + "\u6771"]
    single = [SPACE, *"abcdefghijklmnopqrstuvwxyzT=.!|<>0123459'", "\u00e9", "\u00e8", "\u6771", "\u4eac"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *SPECIAL, *single]
    merged = [token for token in dict.fromkeys(merged) if token not in tokens]
    tokens += merged
    kind = {"<unk>": 2, "<s>": 3, "</s>": 3} | dict.fromkeys(tokens[3:259], 6) | dict.fromkeys(SPECIAL, 3)
    kind |= kinds or {}
    rng = random.Random(5)
    ranks = list(range(len(tokens)))
    rng.shuffle(ranks)
    chosen = {"ranked": ranks, "equal": [1000] * len(tokens), "groups": [rank // 5 for rank in ranks], "none": None}[
        scores
    ]
    keys: dict[str, Any] = {"model": "llama", "tokens": tokens, "token_type": [kind.get(token, 1) for token in tokens]}
    keys |= {"scores": None if chosen is None else [-float(rank) for rank in chosen], "unknown_token_id": 0}
    keys |= {"bos_token_id": 1, "eos_token_id": 2, "add_space_prefix": None if prefix else False}
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items() if value is not None}
