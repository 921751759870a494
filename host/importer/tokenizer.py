# SPDX-License-Identifier: Apache-2.0
"""Tokenizer, stop ids and chat template from the files beside a Hugging Face model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from host.errors import SourceError
from host.importer.fields import read_json, read_text
from host.importer.source import Tokenizer

MAX_TOKENIZER_BYTES = 256 << 20
MAX_TEMPLATE_BYTES = 1 << 20
MAX_STOP_IDS = 8
END_TOKENS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>")
"""Special tokens that end an answer wherever they occur."""
SPECIAL_KEYS = ("bos_token", "eos_token", "unk_token", "pad_token")


def parse(text: str, where: str) -> tokenizers.Tokenizer:
    """A tokenizer.json as an object. Raises SourceError when the library refuses it."""
    try:
        return tokenizers.Tokenizer.from_str(text)
    except BaseException as error:  # a panic in the library is no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise SourceError(f"{where} is not a tokenizer that can be read: {error}; copy or download it again") from error


def stop_ids(tokenizer: tokenizers.Tokenizer, named: Iterable[Any]) -> tuple[int, ...]:
    """The ids that end an answer: the named ones first, then the vocabulary's special end tokens; at most eight."""
    found = [value for value in named if isinstance(value, int) and not isinstance(value, bool) and value >= 0]
    special = {index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    found += [index for index in map(tokenizer.token_to_id, END_TOKENS) if index is not None and index in special]
    known = [index for index in dict.fromkeys(found) if tokenizer.id_to_token(index) is not None]
    return tuple(known[:MAX_STOP_IDS])


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _token_text(value: Any) -> str | None:
    """A token as tokenizer_config.json writes it: a text, or an object with its content."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """chat_template.jinja, else tokenizer_config.json's template (its "default" where there are several)."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return read_text(path, MAX_TEMPLATE_BYTES)
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {each.get("name"): each.get("template") for each in template if isinstance(each, Mapping)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _from_merges(folder: Path) -> str:
    """tokenizer.json of a GPT-2 style vocab.json and merges.txt."""
    vocab = read_json(folder / "vocab.json", MAX_TOKENIZER_BYTES)
    lines = read_text(folder / "merges.txt", MAX_TOKENIZER_BYTES).split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    try:
        bpe = models.BPE(vocab=vocab, merges=merges)  # type: ignore[arg-type]
    except Exception as error:
        raise SourceError(f"vocab.json and merges.txt do not fit each other: {error}; copy them again") from error
    tokenizer = tokenizers.Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if "<|endoftext|>" in vocab:
        tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    return str(tokenizer.to_str())


def _json_in(folder: Path) -> str | None:
    """The folder's tokenizer as JSON text; None where it has none that can be read without its own program."""
    if (folder / "tokenizer.json").is_file():
        return read_text(folder / "tokenizer.json", MAX_TOKENIZER_BYTES)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _from_merges(folder)
    return None


def load_tokenizer(folder: Path, model_config: Mapping[str, Any]) -> Tokenizer | None:
    """Tokenizer from the files in a folder; None when there is none. Raises SourceError when one is damaged."""
    text = _json_in(folder)
    if text is None:
        return None
    tokenizer = parse(text, "tokenizer.json")
    extra = {
        name: read_json(folder / name) if (folder / name).is_file() else {}
        for name in ("tokenizer_config.json", "generation_config.json", "special_tokens_map.json")
    }
    config = {**extra["special_tokens_map.json"], **extra["tokenizer_config.json"]}
    special = {key: token for key in SPECIAL_KEYS if (token := _token_text(config.get(key))) is not None}
    named = _as_list(extra["generation_config.json"].get("eos_token_id"))
    if "eos_token" in special:
        named.append(tokenizer.token_to_id(special["eos_token"]))
    named += _as_list(model_config.get("eos_token_id"))
    bos = tokenizer.token_to_id(special["bos_token"]) if "bos_token" in special else model_config.get("bos_token_id")
    bos = bos if isinstance(bos, int) and tokenizer.id_to_token(bos) is not None else None
    add_bos = config.get("add_bos_token")
    if not isinstance(add_bos, bool):
        add_bos = bos is not None and tokenizer.encode("a").ids[:1] == [bos]
    return Tokenizer(
        json=text,
        bos=bos,
        stop_ids=stop_ids(tokenizer, named),
        chat_template=_template(folder, config),
        special=special,
        add_bos=add_bos and bos is not None,
    )


def without_tokenizer(folder: Path) -> SourceError:
    """The error for a model folder that has no tokenizer, with what was looked for."""
    hint = "put tokenizer.json (from the model's page) beside the weights"
    if (folder / "tokenizer.model").is_file():
        hint = "there is a SentencePiece tokenizer.model: convert it with transformers' AutoTokenizer.save_pretrained"
    return SourceError(f"no tokenizer beside the model in {folder}: neither tokenizer.json nor vocab.json; {hint}")


def check_vocabulary(tokenizer: Tokenizer, vocab: int) -> None:
    """Raises SourceError when the tokenizer makes ids that the model has no embedding for."""
    ids = parse(tokenizer.json, "tokenizer").get_vocab(with_added_tokens=True).values()
    beyond = sum(index >= vocab for index in ids)
    if beyond:
        raise SourceError(
            f"the tokenizer has {beyond} ids beyond the model's vocabulary of {vocab}; tokenizer and model are of "
            "different models"
        )
