# SPDX-License-Identifier: Apache-2.0
"""Weights or a config that other tools read one way, read here in another, or refused under a wrong name.

The right values are those of transformers 5 and llama.cpp.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from host.errors import SourceError
from host.families import families
from host.families.parts.activation import ACTIVATIONS
from host.files.fields import Fields
from host.files.source import Source
from host.model import load_source
from host.packing.pack import PackRequest, prepare
from host.schema.image import Activation
from tests.support.model_files import stored_arrays, write_folder, write_gguf, write_vocabulary
from tests.support.tiny import tiny_gpt2, tiny_llama

HEAD = "lm_head.weight"


def change_config(folder: Path, **change: Any) -> Path:
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("shards", [1, 2])
def test_another_output_beside_a_tied_config_counts(make: Any, shards: int, tmp_path: Path) -> None:
    made = make(tie_word_embeddings=False)
    folder = change_config(write_folder(made, tmp_path, shards=shards), tie_word_embeddings=True)
    found = load_source(folder)
    assert found.config["tie_word_embeddings"] is False
    np.testing.assert_array_equal(found.tensors[HEAD].float32(), made.tensors[HEAD].float32())
    assert any("output matrix" in note for note in found.notes)


def test_another_output_of_a_gguf_counts(tmp_path: Path) -> None:
    made = tiny_llama(tie_word_embeddings=False)
    found = load_source(write_gguf(made, tmp_path / "m.gguf"))
    np.testing.assert_array_equal(found.tensors[HEAD].float32(), made.tensors[HEAD].float32())


def scaled(tmp_path: Path, kind: str | None, factor: float | None) -> Any:
    def write(writer: GGUFWriter, size: int) -> None:
        write_vocabulary(writer, size)
        if kind is not None:
            writer.add_string("llama.rope.scaling.type", kind)
        if factor is not None:
            writer.add_float32("llama.rope.scaling.factor", factor)

    return load_source(write_gguf(tiny_llama(), tmp_path / "m.gguf", vocabulary=write)).config["rope_scaling"]


@pytest.mark.parametrize(
    ("kind", "factor", "wanted"),
    [
        ("none", 4.0, None),
        ("none", None, None),
        (None, 4.0, 4.0),
        ("linear", 4.0, 4.0),
        ("linear", 1.0, None),
        (None, None, None),
    ],
)
def test_rope_scaling_of_a_gguf(kind: str | None, factor: float | None, wanted: float | None, tmp_path: Path) -> None:
    assert scaled(tmp_path, kind, factor) == (wanted and {"rope_type": "linear", "factor": wanted})


def test_a_whole_file_is_taken_before_an_index(tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path)
    index = folder / "model.safetensors.index.json"
    for text in (json.dumps({"weight_map": {HEAD: "model-00001-of-00002.safetensors"}}), "nothing"):
        index.write_text(text)
        assert load_source(folder).provenance["path"] == "model.safetensors"


def test_an_index_may_name_buffers_that_no_file_has(tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path, shards=2)
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    first = next(iter(weight_map.values()))
    buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": first for i in range(2)}
    index.write_text(json.dumps({"weight_map": weight_map | buffers}))
    assert len(load_source(folder).tensors) == len(tiny_llama().tensors)
    arrays = stored_arrays(tiny_llama())
    arrays.pop("model.norm.weight")
    other = write_folder(tiny_llama(), tmp_path / "other", shards=2, arrays=arrays)
    with pytest.raises(SourceError, match=r"missing.* model\.norm\.weight"):
        load_source(other)


def renamed(folder: Path, made: Source, rename: Any) -> Path:
    return write_folder(made, folder, arrays={rename(name): values for name, values in stored_arrays(made).items()})


@pytest.mark.parametrize(("make", "base"), [(tiny_llama, "model."), (tiny_gpt2, "transformer.")])
def test_a_model_saved_without_its_output(make: Any, base: str, tmp_path: Path) -> None:
    made = make(tie_word_embeddings=True)
    found = load_source(renamed(tmp_path, made, lambda name: name.removeprefix(base)))
    assert set(found.tensors) == set(made.tensors)
    for name, tensor in made.tensors.items():
        np.testing.assert_array_equal(found.tensors[name].float32(), tensor.float32())


def test_an_output_that_is_missing_is_told(tmp_path: Path) -> None:
    made = tiny_llama(tie_word_embeddings=True)
    folder = change_config(renamed(tmp_path, made, lambda name: name.removeprefix("model.")), tie_word_embeddings=False)
    with pytest.raises(SourceError, match=r"missing.* lm_head\.weight"):
        load_source(folder)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize(
    ("prefix", "who"),
    [
        ("_orig_mod.", "torch.compile"),
        ("module.", "DataParallel"),
        ("x.y.", "around the model"),
        ("a.module.", "DataP"),
    ],
)
def test_a_prefix_before_all_names_is_named(make: Any, prefix: str, who: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        load_source(renamed(tmp_path, make(), lambda name: prefix + name))
    assert prefix in str(caught.value).partition("; ")[2]
    assert who in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "LoRA adapter"),
        ("model.layers.0.self_attn.q_proj.qweight", "already quantized"),
        ("model.layers.0.mlp.experts.0.up_proj.weight", "mixture of experts"),
        ("model.layers.0.something.weight", "another architecture"),
    ],
)
def test_other_tensors_are_called_what_they_are(name: str, words: str, tmp_path: Path) -> None:
    made = tiny_llama()
    arrays = stored_arrays(made) | {name: np.ones((2, 2), np.float32)}
    with pytest.raises(SourceError, match=words):
        load_source(write_folder(made, tmp_path, arrays=arrays))


def add_tokens(folder: Path, *names: str) -> None:
    path = folder / "tokenizer.json"
    facts = json.loads(path.read_text())
    top = max([*facts["model"]["vocab"].values(), *(token["id"] for token in facts["added_tokens"])])
    for number, name in enumerate(names):
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        facts["added_tokens"].append({"id": top + 1 + number, "content": name, **flags})
    path.write_text(json.dumps(facts))


def test_tokens_without_an_embedding_are_left_out(tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path)
    before = load_source(folder)
    assert before.tokenizer is not None
    assert before.notes == []
    add_tokens(folder, "<pad>", "<extra>")
    found = load_source(folder)
    assert found.tokenizer is not None
    assert json.loads(found.tokenizer.json)["added_tokens"] == json.loads(before.tokenizer.json)["added_tokens"]
    assert found.tokenizer.stop_ids == before.tokenizer.stop_ids
    assert [note.split()[1] for note in found.notes] == ["<pad>", "<extra>"]
    add_tokens(folder, *(f"<{i}>" for i in range(100)))
    with pytest.raises(SourceError, match="102 ids"):
        load_source(folder)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("swish", Activation.SILU),
        ("gelu_fast", Activation.GELU_TANH),
        ("gelu_python", Activation.GELU_ERF),
        ("gelu_accurate", Activation.GELU_TANH),
    ],
)
@pytest.mark.parametrize(("make", "key"), [(tiny_llama, "hidden_act"), (tiny_gpt2, "activation_function")])
def test_names_of_activations_are_one_list(name: str, wanted: Activation, make: Any, key: str, tmp_path: Path) -> None:
    assert ACTIVATIONS[name] == wanted
    folder = change_config(write_folder(make(), tmp_path), **{key: name})
    nodes = prepare(PackRequest(str(folder))).compiled.lowered.ops
    assert nodes


WINDOWS = [
    ({"sliding_window": 4096}, 4096),
    ({"sliding_window": 256}, 256),
    ({"sliding_window": 128}, 128),
    ({"sliding_window": None}, 0),
    ({"sliding_window": 64, "use_sliding_window": False}, 0),
    ({"sliding_window": 64, "use_sliding_window": True}, 64),
]


@pytest.mark.parametrize(("change", "window"), WINDOWS)
def test_a_window_bounds_a_llama_and_stays_in_the_layers_of_a_mistral(change: dict[str, Any], window: int) -> None:
    """transformers computes no window for a Llama, and a Mistral's GGUF calls itself one: up to it, both are right."""
    values = dict(tiny_llama(max_position_embeddings=256).config) | change
    llama, mistral = (families()[name].read(Fields(values, "config.json")) for name in ("llama", "mistral"))
    assert llama.context == min(256, window or 256)
    assert {layer.window for layer in llama.layers} == {0}
    assert mistral.context == 256
    assert {layer.window for layer in mistral.layers} == {window}


def test_windows_of_packed_models(tmp_path: Path) -> None:
    folder = change_config(write_folder(tiny_llama(), tmp_path), model_type="mistral", sliding_window=64)
    packing = prepare(PackRequest(str(folder)))
    assert packing.compiled.context == 512
    assert {state.window for state in packing.compiled.lowered.states} == {64}
    assert packing.source.notes == []
    for size in (512, (1 << 31) + 1):
        change_config(folder, sliding_window=size)
        assert {state.window for state in prepare(PackRequest(str(folder))).compiled.lowered.states} == {0}

    def write(writer: GGUFWriter, size: int) -> None:
        write_vocabulary(writer, size)
        writer.add_sliding_window(96)

    packing = prepare(PackRequest(str(write_gguf(tiny_llama(), tmp_path / "m.gguf", vocabulary=write))))
    assert packing.compiled.context == 96
    assert any("sliding window is 96" in note for note in packing.source.notes)


def test_defaults_of_a_mistral() -> None:
    values = {key: value for key, value in tiny_llama(num_attention_heads=8).config.items() if value is not None}
    for key in ("num_key_value_heads", "max_position_embeddings"):
        values.pop(key)
    found = families()["mistral"].read(Fields(values, "config.json"))
    assert (found.attention.kv_heads, found.context, found.layers[0].window) == (8, 131072, 4096)
    found = families()["mistral"].read(Fields(values | {"sliding_window": None}, "x"))
    assert (found.context, found.layers[0].window) == (131072, 0)
