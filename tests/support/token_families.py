# SPDX-License-Identifier: Apache-2.0
"""Tokenizers with the parts of the real families, trained here on a few lines."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from host.files.source import Tokenizer as Described
from host.tokens.splits import SPACE, SPLITS, Split, byte_level
from tests.support.charsmap import compatible
from tests.support.strings import crossing
from tests.support.texts import CORPUS, SPECIAL

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def _special(text: str, **flags: bool) -> AddedToken:
    return AddedToken(text, special=True, normalized=False, **flags)


def pieces(normalizer: Any, pre: Any, added: Sequence[AddedToken] = (), fallback: bool = True) -> Tokenizer:
    """A SentencePiece BPE."""
    trained = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=fallback))
    if normalizer is not None:
        trained.normalizer = normalizer
    trained.pre_tokenizer = pre or pre_tokenizers.Metaspace(split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<unk>", *SPECIAL, *(BYTES if fallback else [])],
        show_progress=False,
        limit_alphabet=60,
        max_token_length=6,
    )
    trained.train_from_iterator(CORPUS, trainer)
    # Byte tokens are no added tokens: only the model knows them.
    made = Tokenizer(trained.model)
    if normalizer is not None:
        made.normalizer = normalizer
    if pre is not None:
        made.pre_tokenizer = pre
    strip = decoders.Strip(" ", 1, 0)
    made.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    made.add_special_tokens([_special(text) for text in ["<unk>", *SPECIAL]])
    made.add_tokens(list(added))
    return made


def word_piece(lowercase: bool) -> Tokenizer:
    """BERT's."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False, limit_alphabet=90)
    made.train_from_iterator(CORPUS, trainer)
    made.add_special_tokens([_special("[MASK]", lstrip=True)])
    return made


def unigram(normalizer: Any, pre: Any, fallback: bool = False) -> Tokenizer:
    """T5's and its like. The library takes no byte fallback when it trains."""
    trained = Tokenizer(models.Unigram())
    trained.normalizer, trained.pre_tokenizer = normalizer, pre
    special = ["<pad>", "</s>", "<unk>", *(BYTES if fallback else [])]
    trainer = trainers.UnigramTrainer(
        vocab_size=250 + len(special), special_tokens=special, unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(CORPUS * 3, trainer)
    facts = json.loads(trained.to_str())
    facts["model"]["byte_fallback"] = fallback
    facts["added_tokens"] = [token for token in facts["added_tokens"] if token["content"] not in BYTES]
    made = Tokenizer.from_str(json.dumps(facts))
    made.decoder = decoders.Metaspace()
    made.add_special_tokens([_special("<extra_id_0>")])
    return made


def byte_pairs(pre: Any, normalizer: Any = None) -> Tokenizer:
    """A byte-level BPE whose merges cross every cut."""
    tokens, merges = crossing()
    facts = byte_level({token: i for i, token in enumerate(tokens)}, [merge.split(" ") for merge in merges])
    made = Tokenizer.from_str(json.dumps(facts))
    made.pre_tokenizer = pre
    if normalizer is not None:
        made.normalizer = normalizer
    made.add_special_tokens([_special(text) for text in [*SPECIAL, "<s>"]])
    return made


def split(one: Split) -> Tokenizer:
    """The same with one of the splits that GGUF names."""
    tokens, merges = crossing()
    facts = byte_level({token: i for i, token in enumerate(tokens)}, [merge.split(" ") for merge in merges], one)
    made = Tokenizer.from_str(json.dumps(facts))
    made.add_special_tokens([_special(text) for text in [*SPECIAL, "<s>"]])
    return made


def _precompiled() -> Any:
    return normalizers.Precompiled(compatible())


def _llama() -> Any:
    return normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])


def _words() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])


PHI3 = (
    AddedToken("<|user|>", special=True, normalized=False, rstrip=True),
    AddedToken("<|im", normalized=False, lstrip=True, rstrip=True),
)
GEMMA = tuple(AddedToken(text, normalized=False) for text in (SPACE * 2, SPACE * 3, "\n\n", "<table>"))
LATE = (AddedToken("quick", normalized=True), AddedToken("fox j", normalized=True), AddedToken("it", single_word=True))
OWN = functools.partial(pre_tokenizers.ByteLevel, add_prefix_space=False)

FAMILIES: dict[str, Callable[[], Tokenizer]] = {
    "phi3": lambda: pieces(_llama(), None, PHI3),
    "gemma": lambda: pieces(normalizers.Replace(" ", SPACE), pre_tokenizers.Split(" ", "merged_with_previous"), GEMMA),
    "mistral": lambda: pieces(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "bert": lambda: word_piece(lowercase=True),
    "t5": lambda: unigram(_precompiled(), _words()),
}
"""One of each kind of model; tests/strangers/test_gguf_tokenizers.py has those of bytes."""
MORE: dict[str, Callable[[], Tokenizer]] = {
    "neox": lambda: byte_pairs(OWN(), normalizers.NFC()),
    "bert, cased": lambda: word_piece(lowercase=False),
    "xlm-roberta": lambda: unigram(
        normalizers.Sequence([_precompiled(), normalizers.Replace(Regex(" {2,}"), " ")]), pre_tokenizers.Metaspace()
    ),
    "t5, converted anew": lambda: unigram(
        normalizers.Sequence(
            [_precompiled(), normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), SPACE)]
        ),
        pre_tokenizers.Metaspace(),
    ),
    "albert": lambda: unigram(
        normalizers.Sequence(
            [
                normalizers.Replace("``", '"'),
                normalizers.Replace("''", '"'),
                normalizers.NFKD(),
                normalizers.StripAccents(),
                normalizers.Lowercase(),
                _precompiled(),
            ]
        ),
        _words(),
    ),
    "unigram with bytes": lambda: unigram(normalizers.Nmt(), pre_tokenizers.Metaspace(), fallback=True),
    "pieces without bytes": lambda: pieces(_llama(), None, LATE, fallback=False),
    "words of pieces": lambda: pieces(None, pre_tokenizers.Metaspace(), LATE),
    "roberta": lambda: byte_pairs(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "falcon": lambda: byte_pairs(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Punctuation("contiguous"),
                OWN(),
                pre_tokenizers.Digits(individual_digits=False),
                pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
            ]
        )
    ),
    **{
        f"{form} of bytes": functools.partial(lambda form: byte_pairs(OWN(), getattr(normalizers, form)()), form)
        for form in ("NFKC", "NFD", "NFKD")
    },
    **{f"split {one.names[0]}": functools.partial(split, one) for one in SPLITS},
}
"""Others, for the run that takes minutes."""


def described(library: Tokenizer, template: str | None = None) -> Described:
    """The tokenizer as an importer gives it."""
    return Described(library.to_str(), None, (), template, {})
