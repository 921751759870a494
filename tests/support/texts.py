# SPDX-License-Identifier: Apache-2.0
"""Tokenizers trained here on a few lines, and texts that trip tokenizers up."""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from host.files.source import Tokenizer as Described
from host.tokens.splits import LLAMA3, QWEN2

CORPUS = [
    "The quick brown fox jumps over the lazy dog's back, and they'll say: it isn't true!\n\n    def f(x):\n",
    "        return x + 12345 * 678.90  # 1999-12-31\r\n\tDon't PANIC; WE'RE here. I've I'm you'd he'll she's\n",
    "Größe, naïve café, 東京都に住んでいます。 Привет, мир! שלום  עולם 🙂🙂 ½ ² ٣٤ <div class='a'></div>\n",
]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NASTY = [
    *("", " ", "  ", "\n", "\n\n", " \n", "\n ", "\t", "\r\n", "a", " a", "a ", "  a", "a  ", "a  b", "a \n b"),
    *("'", "''", "'s", "'S", " 's", "it's", "IT'S", "'ll", "'LL", "'lL", "'\u017f", "'\u017fa", "x'd'", "'1", "''s"),
    *("123", "1234567", "a1b2", "1 2", "a 1", "a  1", "\u00bd", "\u0663\u0664", "x\u00b2", "1\u2003 2", "12a's"),
    *("...", " ...", "...\n\n", "?!\r\n\n x", "\n\n\nx", " \n \n  x", "x\n\n  \n", "\u00a0x", "x\u00a0\u00a0y"),
    *("\u3000", "\u2028\u2028a", "\u0085b", "\u200b", "\ufeffx", "e\u0301", "\u0301", "\U0001f642\u200d\U0001f642"),
    *("\U00011de0", "a\U00011de0b", "\u1c89", "\U0001e4d0", "\U000e0001", "\U0010ffff", "\ufffd", "\x00a", "\x7f"),
    *("<|im_start|>", "a<|im_end|>b", "<|im_start|><|im_end|>", "<|im_start", "<|im_start|>user\nhi<|im_end|>\n"),
    *("\u2581", "\u2581a", "a\u2581b", "tab\tx", "the the the", "aaaaaaaaaaaaaaaaaaaa", "\u05e9\u05dc\u05d5\u05dd"),
]
PARTS = st.sampled_from([text for text in NASTY if text] + ["the", " quick", "Fox", "\u00fc", "\u6771", " 9", "-", ","])
TEXTS = st.one_of(st.lists(PARTS, max_size=8).map("".join), st.text(max_size=24))


def _pre_tokenizer(kind: str) -> Any:
    def split(pattern: str) -> Any:
        pieces = pre_tokenizers.Split(Regex(pattern), "isolated")
        return pre_tokenizers.Sequence([pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    own = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return {
        "gpt2": own,
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), own]),
        "llama3": split(LLAMA3),
        "qwen2": split(QWEN2),
    }[kind]


@functools.cache
def trained(kind: str, size: int = 400) -> Tokenizer:
    """A tokenizer of the kind: gpt2, smollm, llama3 (which takes whole words), qwen2, or sentencepiece."""
    if kind == "sentencepiece":
        return _sentencepiece(size)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _pre_tokenizer(kind)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken("quick brown", normalized=False)])
    if kind == "llama3":
        tokenizer.model.ignore_merges = True
    return tokenizer


def _sentencepiece(size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    strip = decoders.Strip(" ", 1, 0)
    replace = decoders.Replace("\u2581", " ")
    tokenizer.decoder = decoders.Sequence([replace, decoders.ByteFallback(), decoders.Fuse(), strip])
    pieces = ["<unk>", *SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=size + 256, special_tokens=pieces, show_progress=False, limit_alphabet=60, max_token_length=6
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    # Byte tokens are no added tokens: only the model knows them.
    rebuilt = Tokenizer(tokenizer.model)
    rebuilt.normalizer, rebuilt.decoder = tokenizer.normalizer, tokenizer.decoder
    rebuilt.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    return rebuilt


def described(kind: str, template: str | None = CHATML) -> Described:
    """The tokenizer as an importer gives it."""
    library = trained(kind)
    end = library.token_to_id("<|im_end|>")
    return Described(library.to_str(), None, (end, library.token_to_id("<|endoftext|>")), template, {})
