# SPDX-License-Identifier: Apache-2.0
"""Graphs, passes, lowering and memory plan; passes are judged by the logits of the native engine."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host.compiler.compile import Compiled, Options, compile_model
from host.compiler.memory import Buffer, plan_arena
from host.compiler.passes import PASSES
from host.errors import SourceError, UsageError
from host.families import build_graph
from host.files.source import Source
from host.ops import OpId
from host.schema import limits
from host.schema.formats import formats
from host.schema.formats.bf16 import BF16
from host.schema.formats.f32 import F32
from host.schema.formats.q4 import Q4
from host.schema.formats.q4m import Q4M
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Layout, Overflow
from host.schema.weights import WeightFormat
from tests.support.native import Native
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama

TOKENS = np.random.default_rng(5).integers(0, 131, 21).tolist()
ROOT = Path(__file__).resolve().parents[2]
MODELS = {
    "llama": lambda: tiny_llama(),
    "llama-bias": lambda: tiny_llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
    "llama-odd": lambda: tiny_llama(hidden_size=48, head_dim=16, num_attention_heads=3, num_key_value_heads=1,
                                    intermediate_size=150, vocab_size=257),
    "gpt2": lambda: tiny_gpt2(),
    "gpt2-untied": lambda: tiny_gpt2(tie_word_embeddings=False, scale_attn_by_inverse_layer_idx=True),
}  # fmt: skip
NEEDS_OTHERS = ("dce", "fuse_gate_up")
"""Passes that finish what others began: they find nothing to do without them."""


def logits_of(native: Native, path: Path, source: Source, tokens: list[int] = TOKENS, **options: Any) -> np.ndarray:
    tiny_image(path / "tiny.hsp", source, Options(**options))
    native.load(path / "tiny.hsp")
    return native.feed(tokens, every=True)


def count(compiled: Compiled) -> Counter[str]:
    return Counter(type(node).__name__ for node in compiled.graph.nodes)


@pytest.mark.parametrize("name", MODELS)
def test_every_pass_keeps_the_logits(native: Native, tmp_path: Path, name: str) -> None:
    source = MODELS[name]()
    for options in ({"weights": F32, "kv": Format.F32}, {"weights": Q4M}):
        plain = logits_of(native, tmp_path, source, without=tuple(PASSES), **options)
        structural = logits_of(native, tmp_path, source, without=("fold_norms",), **options)
        assert (structural == plain).all()
        for skipped in set(PASSES) - {"fold_norms"}:
            assert (logits_of(native, tmp_path, source, without=(skipped, "fold_norms"), **options) == plain).all(), (
                skipped
            )
        folded = logits_of(native, tmp_path, source, **options)
        assert np.abs(folded - plain).max() <= 1e-5 * np.abs(plain).max()
        assert (folded == plain).all() == (options["weights"] != F32)


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_works_alone(native: Native, tmp_path: Path, name: str) -> None:
    """Without any other it keeps the logits, and does something to one of two models."""
    changed = False
    for model in ("llama", "gpt2"):
        source, options = MODELS[model](), {"weights": F32, "kv": Format.F32}
        if name == "fuse_quantize":
            options = {}
        plain = compile_model(source, Options(without=tuple(PASSES), **options))
        alone = compile_model(source, Options(without=tuple(set(PASSES) - {name}), **options))
        changed |= plain.lowered.ops != alone.lowered.ops
        expected = logits_of(native, tmp_path, source, without=tuple(PASSES), **options)
        found = logits_of(native, tmp_path, source, without=tuple(set(PASSES) - {name}), **options)
        assert np.abs(found - expected).max() <= (1e-5 * np.abs(expected).max() if name == "fold_norms" else 0)
    assert changed == (name not in NEEDS_OTHERS)


@pytest.mark.parametrize(
    ("skipped", "kind", "more"),
    [
        ("cse", "RopeTable", 1),
        ("fuse_qkv", "Linear", 4),
        ("fuse_gate_up", "Linear", 2),
        ("fuse_gate", "Linear", 2),
        ("fuse_residual", "Elementwise", 4),
        ("fuse_quantize", "Quantize", 5),
        ("dce", "Norm", 5),
    ],
)
def test_each_pass_does_something_to_llama(skipped: str, kind: str, more: int) -> None:
    fused = count(compile_model(tiny_llama(), Options()))
    without = count(compile_model(tiny_llama(), Options(without=(skipped,))))
    assert without[kind] == fused[kind] + more


def test_each_pass_does_something_to_gpt2() -> None:
    fused = count(compile_model(tiny_gpt2(), Options()))
    assert fused["Elementwise"] == 0
    # A bias that stays keeps the activation or residual behind it from being fused, too.
    assert count(compile_model(tiny_gpt2(), Options(without=("fuse_bias",))))["Elementwise"] == 2 * 6 + 2 + 4
    assert count(compile_model(tiny_gpt2(), Options(without=("fuse_activation",))))["Elementwise"] == 2


def test_a_fused_layer_is_ten_ops() -> None:
    compiled = compile_model(tiny_llama(), Options())
    names = [op.name for op in (OpId(int.from_bytes(record[:2], "little")) for record in compiled.lowered.ops)]
    layer = ["NORM", "LINEAR", "ROPE", "ROPE", "KV_STORE", "ATTENTION", "QUANTIZE", "LINEAR"]
    layer += ["NORM", "LINEAR", "QUANTIZE", "LINEAR"]
    first = [*layer[:2], "ROPE_TABLE", *layer[2:]]
    assert names == ["EMBED", *first, *layer, "GATHER", "NORM", "LINEAR"]


def test_norms_are_folded_only_into_f32() -> None:
    def weighted(source: Source, **options: Any) -> int:
        nodes = compile_model(source, Options(**options)).graph.nodes
        return sum(getattr(node, "eps", None) is not None and node.weight is not None for node in nodes)

    f32 = {"weights": F32, "kv": Format.F32}
    assert weighted(tiny_llama(), **f32) == 1, "the embedding table is also the output matrix"
    assert weighted(tiny_llama(tie_word_embeddings=False), **f32) == 0
    assert weighted(tiny_llama(), weights=Q8) == 5


def test_unknown_pass_is_named() -> None:
    with pytest.raises(UsageError, match="fuse_everything"):
        compile_model(tiny_llama(), Options(without=("fuse_everything",)))


def test_equal_inputs_of_rotations_stay_apart(native: Native, tmp_path: Path) -> None:
    source = tiny_llama(num_key_value_heads=4)
    for layer in ("model.layers.0.self_attn.", "model.layers.1.self_attn."):
        source.tensors[f"{layer}k_proj.weight"] = source.tensors[f"{layer}q_proj.weight"]
    plain = logits_of(native, tmp_path, source, without=tuple(PASSES))
    assert (logits_of(native, tmp_path, source, without=("fuse_qkv",)) == plain).all()


@pytest.mark.parametrize("name", MODELS)
def test_layouts_give_the_same_logits(native: Native, tmp_path: Path, name: str) -> None:
    source = MODELS[name]()
    for weights in (one for one in formats().values() if Layout.SWAR in one.layouts):
        rvv, *others = (
            logits_of(native, tmp_path, source, weights=weights, layout=layout) for layout in weights.layouts
        )
        assert all((other == rvv).all() for other in others)


def test_formats_come_near_f32(native: Native, tmp_path: Path) -> None:
    source = tiny_llama(tie_word_embeddings=False)
    exact = logits_of(native, tmp_path, source, weights=F32, kv=Format.F32)
    for weights in (one for one in formats().values() if one.error):
        off = np.abs(logits_of(native, tmp_path, source, weights=weights) - exact).mean() / exact.std()
        assert 0 < off < 0.005 + 1.5 * weights.error, weights


def test_output_weights_are_chosen_apart() -> None:
    def chosen(**options: Any) -> set[WeightFormat]:
        tensors = compile_model(tiny_llama(), Options(**options)).tensors
        return {t.format for t in tensors if t.name == "model.embed_tokens.weight"}

    assert chosen(weights=Q4) == {Q8}
    assert chosen(weights=Q4, output_weights=Q4M) == {Q4M}
    assert chosen(weights=BF16, kv=Format.F32) == {BF16}


def test_tied_weights_are_stored_once() -> None:
    tied = [t.name for t in compile_model(tiny_llama(), Options()).tensors]
    untied = [t.name for t in compile_model(tiny_llama(tie_word_embeddings=False), Options()).tensors]
    assert len(tied) == len(set(tied))
    assert set(untied) - set(tied) == {"lm_head.weight"}


# ---- memory ----


@pytest.mark.parametrize("without", [(), tuple(PASSES)])
@pytest.mark.parametrize("name", MODELS)
def test_buffers_alive_together_do_not_overlap(name: str, without: tuple[str, ...]) -> None:
    lowered = compile_model(MODELS[name](), Options(without=without)).lowered
    assert lowered.arena_bytes % 64 == 0
    for i, a in enumerate(lowered.buffers):
        assert a.offset % 64 == 0
        assert 0 <= a.offset <= lowered.arena_bytes - a.size
        for b in lowered.buffers[:i]:
            apart = a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
            assert apart or not a.overlaps(b), (a, b)


def test_lifetimes_share_memory() -> None:
    lowered = compile_model(tiny_llama(num_hidden_layers=6), Options()).lowered
    assert lowered.arena_bytes == compile_model(tiny_llama(), Options()).lowered.arena_bytes
    assert lowered.arena_bytes < sum(b.size for b in lowered.buffers) / 4


def test_planner_fills_gaps() -> None:
    a, b, c, d = (Buffer("a", 128, 0, 1), Buffer("b", 256, 0, 3), Buffer("c", 100, 2, 3), Buffer("d", 64, 4, 5))
    assert plan_arena([a, b, c, d]) == 384
    assert (b.offset, a.offset, c.offset, d.offset) == (0, 256, 256, 0)


def test_rows_of_a_step_size_the_arena() -> None:
    few, many = (compile_model(tiny_llama(), Options(max_rows=rows)).arena_bytes for rows in (8, 64))
    assert few < many


# ---- options ----


def test_sliding_context_runs_beyond_its_length(native: Native, tmp_path: Path) -> None:
    options = {"context": 128, "overflow": Overflow.SLIDE, "sinks": 4}
    tokens = (TOKENS * 12)[:220]
    logits = logits_of(native, tmp_path, tiny_llama(), tokens, **options)
    whole = logits_of(native, tmp_path, tiny_llama(), tokens)
    assert (logits[:128] == whole[:128]).all()
    assert np.isfinite(logits).all()
    assert not (logits[-1] == whole[-1]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"context": 513}, "--context 513 is outside this model's 1 to 512"),
        ({"context": 0}, "--context 0"),
        ({"sessions": 0}, "--sessions 0"),
        ({"sessions": 65}, "--sessions 65"),
        ({"max_rows": 513}, "--rows 513"),
        ({"sinks": 4}, "--sinks"),
        ({"context": 64, "sinks": 64, "overflow": Overflow.SLIDE}, "--sinks 64"),
    ],
)
def test_options_that_contradict_the_model(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        compile_model(tiny_llama(), Options(**options))


def test_learned_positions_cannot_slide() -> None:
    with pytest.raises(UsageError, match="learned positions"):
        compile_model(tiny_gpt2(), Options(overflow=Overflow.SLIDE))


def test_limits_are_the_firmwares() -> None:
    header = (ROOT / "firmware" / "common" / "limits.h").read_text()
    found = dict(re.findall(r"#define (LIMIT_\w+)\s+(.+)", header))
    for name in [name for name in vars(limits) if name.startswith("LIMIT_")]:
        assert getattr(limits, name) == eval(found[name].replace("u", "")), name


# ---- what is refused ----


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_act": "quick_gelu"}, "quick_gelu"),
        ({"attn_logit_softcapping": 30.0}, "attn_logit_softcapping"),
        ({"rope_scaling": {"rope_type": "spiral"}}, "spiral"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "twist": 3}}, "twist"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor"),
        ({"head_dim": 20}, "20 elements"),
        ({"num_attention_heads": 4, "num_key_value_heads": 3}, "3 KV heads"),
        ({"num_attention_heads": 65, "num_key_value_heads": 1, "head_dim": 8}, "65 query heads"),
        ({"rms_norm_eps": 0.0}, "rms_norm_eps"),
    ],
)
def test_config_that_changes_the_mathematics(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        compile_model(tiny_llama(**changes), Options())


def test_missing_tensor_and_wrong_shape_are_named() -> None:
    source = tiny_llama()
    source.config = dict(source.config) | {"intermediate_size": 168}
    with pytest.raises(
        SourceError, match=r"layers\.0\.mlp\.\w+_proj\.weight is \[160, 96\] where the config asks for \[168, 96\]"
    ):
        build_graph(source)
    source = tiny_gpt2()
    source.tensors = {name: t for name, t in source.tensors.items() if name != "h.1.ln_2.bias"}
    with pytest.raises(SourceError, match=r"h\.1\.ln_2\.bias is missing"):
        build_graph(source)


def test_unknown_architecture_is_named() -> None:
    source = tiny_llama()
    source.architecture = "mamba"
    with pytest.raises(SourceError, match=r"'mamba' is not supported; supported are .*llama"):
        build_graph(source)
