# SPDX-License-Identifier: Apache-2.0
"""How texts are cut before merging: the pre-tokenizers by llama.cpp's names, and tokenizer.json built from tables.

A pattern is what the models' own tokenizer.json has; where a name stands for no model ("default"), what llama.cpp
does. The names, which of them take whole words and which begin with bos are those of llama.cpp's llama-vocab.cpp (as in
llama-cpp-python 0.3.36). Names whose rules need more than patterns (afmoe, kimi-k2, gemma4, ...) are not here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SPACE = "\u2581"

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
_LINES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*" + _LINES
LLAMA3 = _CONTRACTIONS + _WORDS + r"\p{N}{1,3}" + _REST
QWEN2 = _CONTRACTIONS + _WORDS + r"\p{N}" + _REST
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_SLASHES = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _LINES
TEKKEN = f"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*" + r"|\p{N}" + _SLASHES
GPT4O = (
    f"{_BEFORE}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_BEFORE}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    + r"|\p{N}{1,3}"
    + _SLASHES
)
QWEN35 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + _LINES
BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
SEED_CODER = _CONTRACTIONS + _WORDS + r"\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + _LINES
MINICPM5 = _CONTRACTIONS + _WORDS + r"\p{N}+" + _REST
BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
_HAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_PUNCTUATION = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    + _LINES
)
CASED = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-"
    "\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
    "\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-"
    "\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3"
    "\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17"
    "\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-"
    "\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
"""Letters that DeepSeek-LLM cuts together: those with case."""


@dataclass(frozen=True)
class Split:
    """One way of cutting: patterns in turn, each cutting what the ones before it left whole.

    none: GPT-2's own pattern, which byte-level coding brings with it. digits: each digit alone before it.
    """

    names: tuple[str, ...]
    patterns: tuple[str, ...] = ()
    digits: bool = False
    whole_words: bool = False
    bos: bool = False
    nfc: bool = False

    def pre_tokenizer(self) -> dict[str, Any]:
        """As tokenizer.json has it."""
        steps: list[dict[str, Any]] = [{"type": "Digits", "individual_digits": True}] if self.digits else []
        steps += [_split(pattern) for pattern in self.patterns]
        steps.append(_bytes(use_regex=not self.patterns))
        return steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}


SPLITS = (
    Split(
        (
            *("gpt-2", "gpt2", "olmo", "phi-2", "mpt", "jais", "trillion", "granite-docling", "gigachat", "a.x-4.0"),
            *("mellum", "exaone4", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de"),
        )
    ),
    Split(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"), digits=True),
    Split(
        (
            *("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
            "jina-v5-nano",
        ),
        (LLAMA3,),
        whole_words=True,
        bos=True,
    ),
    Split(("smaug-bpe", "dbrx", "chatglm-bpe"), (LLAMA3,)),
    Split(("glm4", "glm5"), (LLAMA3,), whole_words=True),
    Split(("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "kormo", "f2llmv2"), (QWEN2,), nfc=True),
    Split(("hunyuan", "solar-open", "grok-2"), (QWEN2,)),
    Split(("qwen35",), (QWEN35,), nfc=True),
    Split(("tekken",), (TEKKEN,), whole_words=True, bos=True),
    Split(("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"), (GPT4O,)),
    Split(("deepseek-llm",), (r"[\r\n]", rf"\s?[{CASED}]+", _PUNCTUATION, r"\s+$", _HAN, r"\p{N}+")),
    Split(("deepseek-coder",), (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN, r"\p{N}")),
    Split(("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"), (r"\p{N}{1,3}", _KANA, DEEPSEEK3)),
    Split(("bailingmoe", "bailingmoe2", "llada-moe"), (BAILING,)),
    Split(("seed-coder",), (SEED_CODER,)),
    Split(("minicpm5",), (r"\p{N}{1,3}", MINICPM5), whole_words=True),
    Split(("bloom", "gpt3-finnish", "poro-chat"), (BLOOM,)),
    Split(("falcon",), (r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]")),
    Split(("viking",), (BLOOM, r"\p{N}")),
    Split(("default",), (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
)
BY_NAME = {name: split for split in SPLITS for name in split.names}
"""Names in tokenizer.ggml.pre, and how each cuts."""


def _bytes(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _facts(model: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A tokenizer.json, in the library's order of keys."""
    start: dict[str, Any] = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": []}
    return start | {"normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None} | parts | model


def _bpe(vocab: Mapping[str, int], merges: Sequence[Sequence[str]], **more: Any) -> dict[str, Any]:
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    return {"model": model | more | {"vocab": dict(vocab), "merges": [list(merge) for merge in merges]}}


def byte_level(
    vocab: Mapping[str, int], merges: Sequence[Sequence[str]], split: Split = BY_NAME["gpt-2"]
) -> dict[str, Any]:
    """tokenizer.json of a byte-level BPE without added tokens."""
    return _facts(
        _bpe(vocab, merges, ignore_merges=split.whole_words),
        normalizer={"type": "NFC"} if split.nfc else None,
        pre_tokenizer=split.pre_tokenizer(),
        decoder={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    )


def qwen2(vocab: Mapping[str, int], merges: Sequence[Sequence[str]]) -> dict[str, Any]:
    """tokenizer.json of a Qwen2Tokenizer without added tokens."""
    return byte_level(vocab, merges, BY_NAME["qwen2"])


def sentence_piece(
    vocab: Mapping[str, int], merges: Sequence[Sequence[str]], unknown: str, prefixed: bool
) -> dict[str, Any]:
    """tokenizer.json of a SentencePiece BPE with byte fallback. ``prefixed``: a text gets a space before it."""
    first = [{"type": "Prepend", "prepend": SPACE}] if prefixed else []
    last = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefixed else []
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    back = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    return _facts(
        _bpe(vocab, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True),
        normalizer={"type": "Sequence", "normalizers": [*first, replace]},
        decoder={"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *last]},
    )


def word_piece(vocab: Mapping[str, int], unknown: str, lowercase: bool) -> dict[str, Any]:
    """tokenizer.json of BERT's WordPiece."""
    model = {"type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##"}
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    return _facts(
        {"model": model | {"max_input_chars_per_word": 100, "vocab": dict(vocab)}},
        normalizer=normalizer | {"strip_accents": None, "lowercase": lowercase},
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    )


def unigram(
    vocab: Sequence[tuple[str, float]], unknown: int, charsmap: bytes, prefixed: bool, words: bool
) -> dict[str, Any]:
    """tokenizer.json of a SentencePiece Unigram: T5's, XLM-R's.

    charsmap: SentencePiece's table of normalization. ``prefixed``: a text gets a space before it. ``words``: white
    space counts as one space, and as none at the ends.
    """
    scheme = "always" if prefixed else "never"
    metaspace = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": True}
    steps = [{"type": "WhitespaceSplit"}, metaspace]
    table = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
    return _facts(
        {
            "model": {
                "type": "Unigram",
                "unk_id": unknown,
                "vocab": [list(each) for each in vocab],
                "byte_fallback": False,
            }
        },
        normalizer=table if charsmap else None,
        pre_tokenizer={"type": "Sequence", "pretokenizers": steps} if words else metaspace,
        decoder=metaspace,
    )
