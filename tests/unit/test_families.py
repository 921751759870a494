# SPDX-License-Identifier: Apache-2.0
"""What a family's config says, as one record; RoPE's frequencies; keys that nobody reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import MODEL_ARCH_NAMES, GGUFWriter

from host.compiler.compile import Options, compile_model
from host.compiler.passes import PASSES
from host.errors import SourceError
from host.families import decoder_of, families
from host.families.parts.build import shapes
from host.families.parts.decoder import Decoder
from host.families.parts.encoder import HEAD_KEY, LENGTH_KEY
from host.families.parts.gguf_config import gguf_config
from host.families.parts.keys import CHANGES, SILENT, check_rest
from host.families.parts.rope import Rope, read_rope
from host.families.parts.standard import standard
from host.files.fields import Fields
from host.files.gguf import open_gguf
from host.ir.value import Vector, Weight
from host.model import load_source
from host.schema.formats.f32 import F32
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Overflow
from tests.support.family_rows import head_of, rows, tiny_model
from tests.support.model_files import write_folder, write_gguf, write_vocabulary
from tests.support.native import Native
from tests.support.tiny import tiny_image, tiny_llama

BASE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 131,
    "max_position_embeddings": 256,
}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}


def llama(**changes: Any) -> Decoder:
    return families()["llama"].read(Fields(BASE | changes, "config.json"))


def llama_gguf(tensors: Any = None, **metadata: Any) -> Decoder:
    keys = {
        "embedding_length": 64,
        "attention.head_count": 4,
        "feed_forward_length": 96,
        "block_count": 1,
        "context_length": 256,
        "vocab_size": 131,
        "attention.layer_norm_rms_epsilon": 1e-5,
    }
    keys |= {key.replace("__", "."): value for key, value in metadata.items()}
    fields = Fields({f"llama.{key}": value for key, value in keys.items()}, "m.gguf")
    config = gguf_config(families()["llama"], fields, tensors or {})
    return families()["llama"].read(config)


# ---- RoPE ----


def rope(scaling: dict[str, Any] | None, head_dim: int = 64) -> tuple[np.ndarray, float]:
    found = read_rope(Fields({"rope_theta": 10000.0, "rope_scaling": scaling}, "config.json"), head_dim, 4096)
    return found.array(), found.scale


def test_rope_scalings() -> None:
    plain, one = rope(None)
    assert one == 1.0
    assert plain[0] == 1.0
    assert plain[-1] == pytest.approx(10000 ** -(62 / 64))
    linear, _ = rope({"rope_type": "linear", "factor": 4.0})
    assert linear == pytest.approx(plain / 4)
    scaled, _ = rope({"rope_type": "llama3"} | LLAMA3 | {"original_max_position_embeddings": 1024})
    wavelength = 2 * np.pi / plain
    assert scaled[wavelength < 256] == pytest.approx(plain[wavelength < 256])
    assert scaled[wavelength > 1024] == pytest.approx(plain[wavelength > 1024] / 8)
    between = (wavelength > 256) & (wavelength < 1024)
    assert between.any()
    assert ((scaled < plain) & (scaled > plain / 8))[between].all()
    divided, _ = rope({"rope_type": "factors", "factors": [2.0] * 32})
    assert divided == pytest.approx(plain / 2)


def test_yarn() -> None:
    plain, _ = rope(None)
    scaled, factor = rope(YARN)
    assert factor == pytest.approx(0.1 * np.log(4) + 1)
    assert scaled[0] == pytest.approx(plain[0])
    assert scaled[-1] == pytest.approx(plain[-1] / 4)
    assert (np.diff(scaled) < 0).all()
    assert rope(YARN | {"attention_factor": 1.5})[1] == 1.5
    both = rope(YARN | {"mscale": 2.0, "mscale_all_dim": 1.0})[1]
    assert both == pytest.approx((0.2 * np.log(4) + 1) / (0.1 * np.log(4) + 1))


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "factors", "factors": [1.0]},
        {"rope_type": "factors", "factors": [0.0] * 32},
        {"rope_type": "llama3"} | LLAMA3 | {"high_freq_factor": 1.0},
        YARN | {"rope_theta": 1.0},
        YARN | {"mscale": 1.0, "mscale_all_dim": -1 / (0.1 * np.log(4))},
        {"rope_type": "linear", "factor": 1e-30, "rope_theta": 1e-29},
        ["default"],
    ],
)
def test_damaged_scalings_are_refused(scaling: Any) -> None:
    with pytest.raises(SourceError):
        rope(scaling)


def test_rope_of_old_and_new_configs_is_the_same() -> None:
    old = llama(rope_theta=5e5, rope_scaling={"type": "llama3", **LLAMA3})
    new = llama(rope_theta=500.0, rope_parameters={"rope_theta": 5e5, "rope_type": "llama3", **LLAMA3})
    assert old == new
    assert new.layers[0].rope == read_rope(
        Fields({"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3}}, "x"), 16, 256
    )


def test_llama3_divisors_of_a_gguf_give_llama3_frequencies(tmp_path: Path) -> None:
    wanted = llama(rope_scaling={"rope_type": "llama3", **LLAMA3}).layers[0].rope
    plain = llama().layers[0].rope
    assert wanted is not None
    assert plain is not None
    divisors = (plain.array() / wanted.array()).astype(np.float32)
    made = tiny_llama(hidden_size=64, intermediate_size=96, head_dim=16, num_hidden_layers=1)
    found = load_source(write_gguf(made, tmp_path / "m.gguf", extra={"rope_freqs.weight": divisors}))
    assert "rope_freqs.weight" not in found.tensors
    read = decoder_of(found).layers[0].rope
    assert read is not None
    np.testing.assert_allclose(read.array(), wanted.array(), rtol=1e-6)


def test_rope_scaling_of_a_gguf() -> None:
    def scaled(**metadata: Any) -> Rope | None:
        return llama_gguf(**{f"rope__scaling__{key}": value for key, value in metadata.items()}).layers[0].rope

    assert scaled() == scaled(type="none") == scaled(type="none", factor=4.0) == llama().layers[0].rope
    linear = llama(rope_scaling={"rope_type": "linear", "factor": 2.0}).layers[0].rope
    assert scaled(type="linear", factor=2.0) == scaled(factor=2.0) == linear != scaled()
    yarn = scaled(type="yarn", factor=4.0, original_context_length=64, attn_factor=0.5)
    assert yarn is not None
    assert yarn.scale == pytest.approx((0.1 * np.log(4) + 1) / 2)


# ---- files ----


def test_every_family_has_a_row() -> None:
    assert list(rows()) == list(families())


@pytest.mark.parametrize("family", [name for name, row in rows().items() if row.gguf is not None])
def test_a_gguf_and_a_folder_give_the_same_program(family: str, tmp_path: Path) -> None:
    made = tiny_model(family)

    def vocabulary(writer: GGUFWriter, size: int) -> None:
        write_vocabulary(writer, size)
        for key, value in (rows()[family].gguf or {}).items():
            add = writer.add_uint32 if isinstance(value, int) else writer.add_float32
            add(f"{MODEL_ARCH_NAMES[families()[family].gguf]}.{key}", value)

    folder = load_source(write_folder(made, tmp_path / "hf"))
    file = load_source(write_gguf(made, tmp_path / "m.gguf", vocabulary=vocabulary))
    assert folder.architecture == file.architecture == family
    assert folder.notes == file.notes == []
    options = Options(weights=F32, kv=Format.F32, without=("fold_norms",))
    first, second = (compile_model(each, options).lowered for each in (folder, file))
    assert first.ops == second.ops
    assert first.states == second.states
    for one, other in zip(first.tensors, second.tensors, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(values_of(one.contents), values_of(other.contents), err_msg=one.name)


def values_of(contents: Weight | Vector) -> np.ndarray:
    return contents.values if isinstance(contents, Vector) else contents.float32()


@pytest.mark.parametrize("family", list(families()))
def test_passes_leave_every_bit(family: str, native: Native, tmp_path: Path) -> None:
    """All structural passes at once, and none, on a model of each family."""
    tokens = np.random.default_rng(5).integers(0, 131, 90).tolist()
    found = []
    for without in (("fold_norms",), tuple(PASSES)):
        options = Options(weights=Q8, kv=Format.KV8, context=128, without=without)
        tiny_image(tmp_path / "m.hsp", tiny_model(family), options)
        native.load(tmp_path / "m.hsp")
        whole = [(0, i, token, int(i == len(tokens) - 1)) for i, token in enumerate(tokens)]
        found.append(native.step(whole) if head_of(family) else native.feed(tokens, every=True))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("family", list(families()))
def test_queries_keys_and_values_are_one_product(family: str) -> None:
    compiled = compile_model(tiny_model(family), Options())
    assert sum("attention.qkv.weight" in tensor.name for tensor in compiled.tensors) == compiled.graph.layers


@pytest.mark.parametrize(("overflow", "sinks"), [(Overflow.STOP, 0), (Overflow.SLIDE, 4)])
def test_windows_of_layers_are_states(overflow: Overflow, sinks: int) -> None:
    options = Options(context=128, overflow=overflow, sinks=sinks)
    states = compile_model(tiny_model("gemma3_text"), options).lowered.states
    whole = 128 - sinks if overflow == Overflow.SLIDE else 0
    assert [(state.window, state.sinks) for state in states] == [(45, 0)] * 5 + [(whole, sinks)]
    long = compile_model(tiny_model("gemma3_text"), Options(context=384)).lowered.states
    assert long[0].pages < long[5].pages


def test_a_context_that_slides_changes_nothing_before_it_is_full(native: Native, tmp_path: Path) -> None:
    """Sinks are pinned in layers that see everything: one with a window of its own would see more than it learned."""
    tokens = np.random.default_rng(5).integers(0, 131, 120).tolist()
    found = []
    for more in ({}, {"overflow": Overflow.SLIDE, "sinks": 4}):
        tiny_image(tmp_path / "m.hsp", tiny_model("gemma3_text"), Options(context=128, **more))
        native.load(tmp_path / "m.hsp")
        found.append(native.feed(tokens, every=True))
    np.testing.assert_array_equal(*found)


# ---- keys ----


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("expert_count", 8, r"llama\.expert_count"),
        ("attention__scale", 0.1, r"llama\.attention\.scale"),
        ("logit_scale", 2.0, r"llama\.logit_scale"),
        ("rope__dimension_count", 8, r"llama\.rope\.dimension_count"),
        ("attention__value_length", 8, r"llama\.attention\.value_length"),
        ("embedding_length", 0, r"llama\.embedding_length"),
    ],
)
def test_gguf_keys_that_are_refused_have_the_files_name(key: str, value: Any, words: str, tmp_path: Path) -> None:
    file = open_gguf(write_gguf(tiny_llama(), tmp_path / "m.gguf"))
    fields = Fields(file.metadata | {f"llama.{key.replace('__', '.')}": value}, "m.gguf")

    def read() -> None:
        config = gguf_config(families()["llama"], fields, file.tensors)
        families()["llama"].read(config)
        check_rest(config, "llama")

    with pytest.raises(SourceError, match=words):
        read()


def test_a_gguf_may_list_the_layers_that_have_a_window(tmp_path: Path) -> None:
    made = tiny_model("gemma3_text")

    def vocabulary(writer: GGUFWriter, size: int) -> None:
        write_vocabulary(writer, size)
        writer.add_sliding_window(45)
        writer.add_sliding_window_pattern([True, False, False, True, True, False])

    found = decoder_of(load_source(write_gguf(made, tmp_path / "m.gguf", vocabulary=vocabulary)))
    assert [layer.window for layer in found.layers] == [45, 0, 0, 45, 45, 0]


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("qwen2", {"layer_types": ["full_attention"]}, "layer_types"),
        ("qwen2", {"layer_types": ["full_attention", "conv"]}, "layer_types"),
        ("qwen2", {"layer_types": ["full_attention", "sliding_attention"]}, "sliding_window"),
        ("qwen2", {"layer_types": 3}, "layer_types"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers"),
        ("smollm3", {"no_rope_layers": [1, 0, 2, 1]}, "no_rope_layers"),
        ("phi3", {"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}, "short_factor"),
        ("phi3", {"rope_scaling": {"type": "longrope"}}, "short_factor"),
        ("phi3", {"partial_rotary_factor": 0.01}, "lanes"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ("llama", {"head_dim": 7}, "odd"),
        ("llama", {"head_dim": 1 << 20}, "head_dim"),
        ("granite", {"residual_multiplier": 0}, "residual_multiplier"),
        ("granite", {"residual_multiplier": 1e-200}, "residual_multiplier"),
        ("gemma3_text", {"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("olmo2", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
        ("gpt2", {"n_head": 7}, "heads"),
    ],
)
def test_what_a_family_does_not_support_is_refused_by_name(family: str, changes: dict[str, Any], words: str) -> None:
    source = tiny_model(family)
    source.config = {**source.config, **changes}
    with pytest.raises(SourceError, match=words):
        decoder_of(source)


def test_a_config_that_names_enormous_sizes_costs_nothing() -> None:
    most = (1 << 31) - 1
    sizes = {"hidden_size": most, "intermediate_size": most, "vocab_size": most, "num_hidden_layers": 1000}
    for family in ("llama", "phi3", "gemma3_text", "olmo2"):
        config = {**rows()[family].config, **sizes, "head_dim": 64, "num_key_value_heads": 4}
        found = shapes(families()[family].read(Fields(config, "x")))
        assert len(found) > 5000


def test_keys_that_nobody_knows_are_told(tmp_path: Path) -> None:
    made = tiny_llama()
    made.config = {**made.config, "pondering": 3, "use_cache": True, "torch_dtype": "float16", "clip_qkv": None}
    found = load_source(write_folder(made, tmp_path))
    assert [note for note in found.notes if "pondering" in note]
    assert not [note for note in found.notes if "use_cache" in note]


OTHER_SIZES = {
    *("n_embd", "n_layer", "n_head", "n_positions", "n_inner", "activation_function", "layer_norm_epsilon"),
    *("activation", "dim", "ffn_dim", "ffn_hidden_size", "hidden_dim", "n_embed", "n_heads", "n_layers"),
    *("layer_norm_eps", "norm_eps", "norm_epsilon"),
}
NOT_IN_CONFIGS = {HEAD_KEY, LENGTH_KEY}


def keys_read(read: Callable[[Fields], Decoder], config: Mapping[str, Any]) -> set[str]:
    fields = Fields({"vocab_size": 131, **config}, "row")
    read(fields)
    return fields.read


def test_a_key_of_one_family_is_refused_by_all_others_or_known_to_say_nothing() -> None:
    """But for sizes, which each family reads under its own names."""
    read = {name: keys_read(families()[name].read, row.config) for name, row in rows().items()}
    sizes = keys_read(standard, rows()["llama"].config) | OTHER_SIZES
    constants = {key for family in families().values() for key in (*family.gguf_values, *family.gguf_biases)}
    for name, own in read.items():
        others = set().union(*read.values()) - own - sizes - constants - NOT_IN_CONFIGS
        assert sorted(others - CHANGES.keys() - SILENT) == [], name
