# SPDX-License-Identifier: Apache-2.0
"""Tokenizers in folders: the ids that transformers' AutoTokenizer gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Library
from tokenizers import processors

from host.tokens.chat_template import encode_prompt
from host.tokens.tokenizer import load_tokenizer
from tests.support.strings import random_texts
from tests.support.texts import trained


def vocabulary() -> tuple[dict[str, int], str]:
    facts = json.loads(trained("gpt2").to_str())["model"]
    vocab = [token for token in facts["vocab"] if token not in ("<|im_start|>", "<|im_end|>")]
    return {token: i for i, token in enumerate(vocab)}, "\n".join(" ".join(merge) for merge in facts["merges"])


def old(config: dict[str, Any], **files: Any) -> dict[str, Any]:
    vocab, merges = vocabulary()
    return {
        "vocab.json": vocab,
        "merges.txt": "#version: 0.2\n" + merges + "\n",
        "tokenizer_config.json": config,
    } | files


def new(config: dict[str, Any], start: str | None = None, **parts: Any) -> dict[str, Any]:
    library = Library.from_str(trained("gpt2").to_str())
    if start:
        ids = [(start, library.token_to_id(start))]
        library.post_processor = processors.TemplateProcessing(single=f"{start} $A", pair=None, special_tokens=ids)
    return {"tokenizer.json": json.loads(library.to_str()) | parts, "tokenizer_config.json": config}


SIZE = len(vocabulary()[0])
USER = {"content": "<|im_start|>", "special": True, "lstrip": False, "rstrip": False, "normalized": False}
ADDED = {"<|im_start|>": SIZE, "<|im_end|>": SIZE + 1}
TRUNCATION = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
GPT2 = {"tokenizer_class": "GPT2Tokenizer"}
FOLDERS = {
    "old": old(GPT2),
    "old, added_tokens.json": old(GPT2 | {"eos_token": "<|im_end|>"}, **{"added_tokens.json": ADDED}),
    "old, added_tokens_decoder": old(GPT2 | {"added_tokens_decoder": {str(SIZE): USER}, "eos_token": "<|im_start|>"}),
    "old, special_tokens_map.json": old(
        GPT2,
        **{"added_tokens.json": ADDED, "special_tokens_map.json": {"additional_special_tokens": ["<|im_start|>"]}},
    ),
    "old, prefix": old(GPT2 | {"add_prefix_space": True}),
    "old, Qwen2": old({"tokenizer_class": "Qwen2Tokenizer"}, **{"added_tokens.json": ADDED}),
    "old, add_bos_token": old(GPT2 | {"bos_token": "<|endoftext|>", "add_bos_token": True}),
    "prefix": new(GPT2 | {"add_prefix_space": True}),
    "truncation": new({"tokenizer_class": "PreTrainedTokenizerFast"}, truncation=TRUNCATION),
    "post-processor": new({"tokenizer_class": "PreTrainedTokenizerFast"}, "<|im_start|>"),
    "add_bos_token": new(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "add_bos_token": True}
    ),
    "not add_bos_token": new(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "add_bos_token": False},
        "<|im_start|>",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_give_the_ids_of_transformers(name: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    for file, value in FOLDERS[name].items():
        (tmp_path / file).write_text(value if isinstance(value, str) else json.dumps(value))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path, {})
    assert ours is not None
    for text in random_texts(17, 60):
        if text:
            assert encode_prompt(ours, text) == theirs(text, truncation=False)["input_ids"], repr(text)
