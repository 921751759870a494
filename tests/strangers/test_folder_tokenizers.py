# SPDX-License-Identifier: Apache-2.0
"""Tokenizers in folders: what training left in the file, tokens in other files, spaces and tokens before a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Library
from tokenizers import normalizers, processors

from host.errors import SourceError
from host.files.source import Tokenizer
from host.image.bpe import bpe_section
from host.image.device_text import why_no_terminal
from host.image.reader import Image
from host.image.text.roles import find_roles
from host.model import load_source
from host.tokens.chat_template import encode_prompt
from host.tokens.tokenizer import codec_of, load_tokenizer
from host.tokens.vocabulary import drop_beyond
from tests.support.device_tokenizer import image_source
from tests.support.model_files import write_folder
from tests.support.texts import trained
from tests.support.tiny import tiny_image

TEXT = "The quick brown fox jumps over the lazy dog's back, and they'll say: it isn't true!"


def loaded(folder: Path, model_config: dict[str, Any] | None = None) -> Tokenizer:
    tokenizer = load_tokenizer(folder, model_config or {})
    assert tokenizer is not None
    return tokenizer


def written(folder: Path, library: Library | dict[str, Any], **files: Any) -> Tokenizer:
    """A tokenizer.json with other files beside it, by their names without .json."""
    text = library.to_str() if isinstance(library, Library) else json.dumps(library)
    (folder / "tokenizer.json").write_text(text)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return loaded(folder)


def copy(kind: str = "gpt2") -> Library:
    return Library.from_str(trained(kind).to_str())


def old(folder: Path, **files: Any) -> tuple[Tokenizer, int]:
    """A folder of vocab.json and merges.txt, and how many tokens vocab.json has."""
    facts = json.loads(trained("gpt2").to_str())["model"]
    vocab = {token: i for token, i in facts["vocab"].items() if token not in ("<|im_start|>", "<|im_end|>")}
    vocab = {token: i for i, token in enumerate(vocab)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(" ".join(merge) for merge in facts["merges"]) + "\n"
    )
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value(len(vocab)) if callable(value) else value))
    return loaded(folder), len(vocab)


# ---- what training left ----


def test_a_text_is_neither_cut_nor_filled_up(tmp_path: Path) -> None:
    plain = copy().encode(TEXT).ids
    cut = copy()
    cut.enable_truncation(8)
    assert encode_prompt(written(tmp_path, cut), TEXT) == plain
    filled = copy()
    filled.enable_padding(length=500, pad_id=1)
    assert encode_prompt(written(tmp_path, filled), TEXT) == plain


def test_dropout_is_off(tmp_path: Path) -> None:
    facts = json.loads(copy().to_str())
    facts["model"]["dropout"] = 0.5
    tokenizer = written(tmp_path, facts)
    assert [encode_prompt(tokenizer, TEXT) for _ in range(3)] == [copy().encode(TEXT).ids] * 3
    assert why_no_terminal(tokenizer) is None


def test_images_that_were_packed_with_them_are_read_right(tmp_path: Path) -> None:
    facts = json.loads(copy().to_str())
    facts["model"]["dropout"] = 0.5
    facts["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    tiny_image(tmp_path / "old.hsp", image_source(Tokenizer(json.dumps(facts), None, (), None)))
    tokenizer = Image(tmp_path / "old.hsp").tokenizer
    assert encode_prompt(tokenizer, TEXT) == copy().encode(TEXT).ids


def test_a_file_that_needs_no_change_is_kept_as_it_is(tmp_path: Path) -> None:
    text = json.dumps(json.loads(copy().to_str()), indent=3)
    (tmp_path / "tokenizer.json").write_text(text)
    assert loaded(tmp_path).json == text


# ---- tokens in other files ----


def test_added_tokens_json_gives_tokens_their_ids(tmp_path: Path) -> None:
    tokenizer, size = old(
        tmp_path,
        added_tokens=lambda n: {"<|user|>": n, "<|bot|>": n + 1, "[PAD]": n + 2},
        tokenizer_config={"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|bot|>", "pad_token": "[PAD]"},
    )
    ids = codec_of(tokenizer).encode("<|user|>hi<|bot|>")
    assert (ids[0], ids[-1]) == (size, size + 1)
    assert tokenizer.stop_ids[0] == size + 1
    assert codec_of(tokenizer).special == {0: "<|endoftext|>", size + 1: "<|bot|>", size + 2: "[PAD]"}
    assert tokenizer.special["eos_token"] == "<|bot|>"


def test_added_tokens_decoder_gives_ids_with_gaps(tmp_path: Path) -> None:
    def config(n: int) -> dict[str, Any]:
        tokens = {
            str(n + 7): {"content": "<|bot|>", "special": True},
            str(n): {"content": "<|user|>", "special": False},
        }
        return {"added_tokens_decoder": tokens, "eos_token": {"content": "<|bot|>", "lstrip": False}}

    tokenizer, size = old(tmp_path, tokenizer_config=config)
    assert codec_of(tokenizer).encode("<|user|><|bot|>") == [size, size + 7]
    assert tokenizer.stop_ids[0] == size + 7
    assert codec_of(tokenizer).decode([size, size + 7]) == "<|user|>"


def test_special_tokens_map_and_additional_tokens_name_special_tokens(tmp_path: Path) -> None:
    tokenizer, size = old(
        tmp_path,
        added_tokens=lambda n: {"<|user|>": n, "<|bot|>": n + 1},
        special_tokens_map={"eos_token": {"content": "<|bot|>"}, "additional_special_tokens": ["<|user|>"]},
    )
    assert set(codec_of(tokenizer).special) == {0, size, size + 1}
    assert tokenizer.stop_ids[0] == size + 1


def test_a_named_token_of_the_vocabulary_is_found_whole(tmp_path: Path) -> None:
    facts = json.loads(copy().to_str())
    facts["added_tokens"] = []
    tokenizer = written(tmp_path, facts, tokenizer_config={"eos_token": "<|im_end|>"})
    end = facts["model"]["vocab"]["<|im_end|>"]
    assert codec_of(tokenizer).encode("a<|im_end|>")[-1] == end
    assert tokenizer.stop_ids[0] == end


NAMED = {
    "additional_special_tokens": ["<|user|>", "<|im_end|>"],
    "pad_token": "[PAD]",
    "eos_token": {"content": "<|bot|>"},
    "unk_token": "<un>",
}
ORDER = ["<|bot|>", "<un>", "[PAD]", "<|user|>"]
"""That of the new ones of NAMED in transformers: by their keys, then the lists."""


def test_named_tokens_that_no_file_gives_an_id_come_next(tmp_path: Path) -> None:
    size = copy().get_vocab_size()
    tokenizer = written(tmp_path, copy(), tokenizer_config=NAMED)
    assert codec_of(tokenizer).encode("".join(ORDER)) == list(range(size, size + 4))
    assert tokenizer.stop_ids[0] == size
    assert len(drop_beyond(tokenizer, size + 3)) == 1
    assert codec_of(tokenizer).encode("[PAD]") == [size + 2]


def test_in_old_folders_named_tokens_come_next(tmp_path: Path) -> None:
    tokenizer, size = old(tmp_path, special_tokens_map={"eos_token": "<|bot|>", "pad_token": "[PAD]"})
    assert codec_of(tokenizer).encode("<|bot|>[PAD]") == [size, size + 1]
    assert tokenizer.stop_ids[0] == size


def test_tokens_of_the_config_join_those_of_tokenizer_json(tmp_path: Path) -> None:
    size = copy().get_vocab_size()
    more = {str(size): {"content": "<|tool|>", "special": True, "lstrip": False, "rstrip": False, "normalized": False}}
    tokenizer = written(tmp_path, copy(), tokenizer_config={"added_tokens_decoder": more})
    assert codec_of(tokenizer).encode("a<|tool|>")[-1] == size


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"added_tokens": {"<|user|>": 5}}, "which another token has"),
        ({"added_tokens": {"<|user|>": "x"}}, "does not map tokens to ids"),
        ({"tokenizer_config": {"added_tokens_decoder": {"x": {"content": "a"}}}}, "does not map ids to tokens"),
        ({"tokenizer_config": {"added_tokens_decoder": {"1": 7}}}, "does not map ids to tokens"),
        ({"tokenizer_config": {"tokenizer_class": "RobertaTokenizer"}}, "RobertaTokenizer of vocab.json"),
    ],
)
def test_files_that_contradict_each_other_are_told(tmp_path: Path, files: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        old(tmp_path, **files)


def test_an_old_folder_that_names_nothing_has_the_tokens_of_its_class(tmp_path: Path) -> None:
    tokenizer, _ = old(tmp_path)
    assert tokenizer.special == dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    assert (tokenizer.bos, tokenizer.add_bos, tokenizer.stop_ids) == (0, False, (0,))


def test_vocab_json_of_anything_but_ids_is_refused(tmp_path: Path) -> None:
    old(tmp_path)
    for value in ({"a": "b"}, {"a": -1}, {"a": 1.5}, {"a": None}):
        (tmp_path / "vocab.json").write_text(json.dumps(value))
        with pytest.raises(SourceError, match="one id"):
            loaded(tmp_path)


def test_an_old_folder_of_qwen_splits_as_qwen(tmp_path: Path) -> None:
    tokenizer, _ = old(tmp_path, tokenizer_config={"tokenizer_class": "Qwen2Tokenizer"})
    facts = json.loads(tokenizer.json)
    assert facts["normalizer"] == {"type": "NFC"}
    assert len(codec_of(tokenizer).encode("2024")) == 4


# ---- before a text ----


@pytest.mark.parametrize("prefixed", [True, False])
def test_add_prefix_space_of_the_config_counts(tmp_path: Path, prefixed: bool) -> None:
    facts = json.loads(copy().to_str())
    facts["pre_tokenizer"]["add_prefix_space"] = not prefixed
    tokenizer = written(tmp_path, facts, tokenizer_config={"add_prefix_space": prefixed})
    expected = copy().encode(" quick" if prefixed else "quick", add_special_tokens=False).ids
    assert encode_prompt(tokenizer, "quick") == expected
    assert why_no_terminal(tokenizer) is None


def starting(*tokens: str) -> Library:
    library = copy()
    single = " ".join([*tokens, "$A"])
    ids = [(token, library.token_to_id(token)) for token in dict.fromkeys(tokens)]
    library.post_processor = processors.TemplateProcessing(single=single, pair=None, special_tokens=ids)
    return library


def test_a_post_processor_that_adds_bos_is_believed(tmp_path: Path) -> None:
    library = starting("<|im_start|>")
    start = library.token_to_id("<|im_start|>")
    (tmp_path / "tokenizer.json").write_text(library.to_str())
    for config in ({}, {"bos_token_id": 0}, {"bos_token_id": start}):
        tokenizer = loaded(tmp_path, config)
        assert encode_prompt(tokenizer, "a") == library.encode("a").ids
        assert (tokenizer.bos, tokenizer.add_bos) == (start, True)


def test_a_second_token_before_the_text_stays(tmp_path: Path) -> None:
    library = starting("<|endoftext|>", "<|im_start|>")
    tokenizer = written(tmp_path, library, tokenizer_config={"bos_token": "<|endoftext|>"})
    assert encode_prompt(tokenizer, "a") == library.encode("a").ids
    tiny_image(tmp_path / "two.hsp", image_source(tokenizer))
    again = Image(tmp_path / "two.hsp").tokenizer
    assert encode_prompt(again, "a") == library.encode("a").ids
    assert find_roles(again).first == "<|endoftext|><|im_start|>"
    assert bpe_section(again)


@pytest.mark.parametrize("wanted", [True, False])
def test_beside_a_tokenizer_json_its_post_processor_alone_counts(tmp_path: Path, wanted: bool) -> None:
    """As transformers 5 has it, which ignores add_bos_token there."""
    config = {"bos_token": "<|endoftext|>", "add_bos_token": wanted}
    plain = copy().encode("quick").ids
    assert encode_prompt(written(tmp_path, copy(), tokenizer_config=config), "quick") == plain
    library = starting("<|endoftext|>")
    assert encode_prompt(written(tmp_path, library, tokenizer_config=config), "quick") == library.encode("quick").ids


@pytest.mark.parametrize("wanted", [True, False])
def test_in_an_old_folder_add_bos_token_counts(tmp_path: Path, wanted: bool) -> None:
    tokenizer, _ = old(tmp_path, tokenizer_config={"bos_token": "<|endoftext|>", "add_bos_token": wanted})
    assert (encode_prompt(tokenizer, "quick")[0] == 0) == wanted


def test_too_much_before_a_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="40 tokens"):
        written(tmp_path, starting(*["<|im_start|>"] * 40))


def test_a_normalizer_is_no_token_before_the_text(tmp_path: Path) -> None:
    library = copy()
    library.normalizer = normalizers.Prepend("x")
    assert written(tmp_path, library).start == ()


def test_an_old_folders_token_beyond_the_embedding_is_left_out(tmp_path: Path) -> None:
    _, size = old(tmp_path, added_tokens=lambda n: {"<|user|>": n, "[PAD]": n + 1})
    plain = loaded(tmp_path)
    assert [token["content"] for token in json.loads(plain.json)["added_tokens"][-2:]] == ["<|user|>", "[PAD]"]
    assert drop_beyond(plain, size + 1)
    assert codec_of(plain).encode("<|user|>") == [size]


def test_a_whole_folder(tmp_path: Path) -> None:
    cut = copy()
    cut.enable_truncation(4)
    folder = write_folder(image_source(Tokenizer(cut.to_str(), None, (), None)), tmp_path / "model")
    tokenizer = load_source(folder).tokenizer
    assert tokenizer is not None
    assert encode_prompt(tokenizer, TEXT) == copy().encode(TEXT).ids
