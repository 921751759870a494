# SPDX-License-Identifier: Apache-2.0
"""The Llama family as files hold it (Llama, TinyLlama, SmolLM2): GQA, tied and untied embeddings, RoPE scalings.

Keys as in transformers' LlamaConfig; RoPE scalings as in its modeling_rope_utils, GGUF's as in the gguf library's keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import MODEL_ARCH

from host.errors import SourceError
from host.families.activation import ACTIVATIONS
from host.families.names import MAX_LAYERS, Config, Family, Shapes, same_bytes
from host.files.fields import Fields
from host.files.tensor import StoredTensor

CHANGES_RESULT = (
    "expert_count",
    "attention.scale",
    "attention.clamp_kqv",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "logit_scale",
    "embedding_scale",
    "residual_scale",
)
"""GGUF keys of relatives that share the name "llama" and compute something else."""


def _dimensions(hidden: int, heads: int, kv_heads: int, head_dim: int, where: str) -> None:
    """Refuse head counts that contradict each other."""
    if heads % kv_heads:
        raise SourceError(f"{where}: {heads} attention heads cannot share {kv_heads} KV heads evenly; damaged config")
    if head_dim % 2:
        raise SourceError(f"{where}: a head dimension of {head_dim} (of {hidden}) is odd, RoPE needs pairs")


def from_config(fields: Fields) -> Config:
    """Canonical config from config.json."""
    hidden = fields.integer("hidden_size")
    heads = fields.integer("num_attention_heads")
    if not fields.has("head_dim") and hidden % heads:
        raise SourceError(f"{fields.where}: hidden_size {hidden} is no multiple of {heads} heads; damaged config")
    config: Config = {
        "hidden_size": hidden,
        "intermediate_size": fields.integer("intermediate_size"),
        "num_hidden_layers": fields.integer("num_hidden_layers", high=MAX_LAYERS),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.integer("num_key_value_heads", heads),
        "head_dim": fields.integer("head_dim", hidden // heads),
        "vocab_size": fields.integer("vocab_size"),
        "max_position_embeddings": fields.integer("max_position_embeddings", 2048),
        "rms_norm_eps": fields.number("rms_norm_eps", 1e-6),
        "hidden_act": fields.choice("hidden_act", tuple(ACTIVATIONS), "silu"),
        "attention_bias": fields.flag("attention_bias", False),
        "mlp_bias": fields.flag("mlp_bias", False),
        "tie_word_embeddings": fields.flag("tie_word_embeddings", False),
    }
    _dimensions(hidden, heads, config["num_key_value_heads"], config["head_dim"], fields.where)
    config["rope_theta"], config["rope_scaling"] = _rope(fields, config["max_position_embeddings"])
    used = fields.flag("use_sliding_window", True)
    return _within_window(config, fields.integer("sliding_window", 0, low=0) if used else 0)


def from_mistral(fields: Fields) -> Config:
    """The same of model_type "mistral": a Llama whose config has other defaults, as in transformers' MistralConfig."""
    defaults = {"num_key_value_heads": 8, "max_position_embeddings": 4096 * 32, "intermediate_size": 14336}
    window = {} if "sliding_window" in fields.values else {"sliding_window": 4096}  # null is none
    biases = {"attention_bias": False, "mlp_bias": False}  # it has none, whatever the config says
    present = {key: value for key, value in fields.values.items() if value is not None}
    return from_config(Fields(defaults | window | present | biases, fields.where))


def _within_window(config: Config, window: int) -> Config:
    """The config of a model whose rows see ``window`` positions at most (0: all): the same up to that context.

    Longer contexts are not packed, so the window never cuts anything off.
    """
    limit = min(config["max_position_embeddings"], window or config["max_position_embeddings"])
    return config | {"max_position_embeddings": limit, "sliding_window": None, "use_sliding_window": False}


def _rope(fields: Fields, context: int) -> tuple[float, dict[str, Any] | None]:
    """Theta and the canonical scaling, from rope_parameters (transformers 5) or rope_theta and rope_scaling."""
    for key in ("rope_parameters", "rope_scaling"):
        if fields.has(key) and not isinstance(fields.values[key], Mapping):
            raise SourceError(f"{fields.where}: {key} is no object; the config is damaged")
    values: dict[str, Any] = dict(fields.values.get("rope_scaling") or {})
    values.update(fields.values.get("rope_parameters") or {})
    scaling = Fields(values, f"{fields.where}, RoPE")
    theta = scaling.number("rope_theta", fields.values.get("rope_theta", 10000.0))
    if scaling.number("partial_rotary_factor", 1.0) != 1.0:
        raise SourceError(f"{fields.where}: partial_rotary_factor is not 1; Llama models rotate whole heads")
    kind = scaling.text("rope_type", scaling.values.get("type", "default"))
    if kind == "linear":
        return theta, {"rope_type": "linear", "factor": scaling.number("factor")}
    if kind == "llama3":
        return theta, {
            "rope_type": "llama3",
            "factor": scaling.number("factor"),
            "low_freq_factor": scaling.number("low_freq_factor"),
            "high_freq_factor": scaling.number("high_freq_factor"),
            "original_max_position_embeddings": scaling.integer("original_max_position_embeddings"),
        }
    if kind == "yarn":
        return theta, _yarn(scaling, context)
    # Dynamic scaling changes nothing up to max_position_embeddings, and a longer context is refused when packing.
    if kind in ("default", "dynamic"):
        return theta, None
    raise SourceError(
        f"{fields.where}: RoPE scaling {kind[:40]!r} is not supported; supported are default, linear, dynamic (within "
        "the model's context), llama3 and yarn"
    )


def _mscale(scale: float, weight: float = 1.0) -> float:
    return 0.1 * weight * math.log(scale) + 1.0 if scale > 1 else 1.0


def _yarn(scaling: Fields, context: int) -> dict[str, Any]:
    """YaRN with the attention factor worked out (Peng et al. 2023, section 3.4)."""
    original = scaling.integer("original_max_position_embeddings", context)
    factor = scaling.number("factor", context / original)
    mscale, all_dim = (scaling.number(key, 0.0, positive=False) for key in ("mscale", "mscale_all_dim"))
    implied = _mscale(factor, mscale) / _mscale(factor, all_dim) if mscale and all_dim else _mscale(factor)
    return {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": original,
        "beta_fast": scaling.number("beta_fast", 32.0),
        "beta_slow": scaling.number("beta_slow", 1.0),
        "attention_factor": scaling.number("attention_factor", implied),
        "truncate": scaling.flag("truncate", True),
    }


def from_gguf(fields: Fields, tensors: Mapping[str, StoredTensor]) -> Config:
    """Canonical config from GGUF metadata."""
    for key in CHANGES_RESULT:
        if fields.values.get(f"llama.{key}"):
            raise SourceError(f"{fields.where}: llama.{key} is set; only plain Llama models are supported")
    hidden = fields.integer("llama.embedding_length")
    heads = fields.integer("llama.attention.head_count")
    head_dim = fields.integer("llama.attention.key_length", max(hidden // heads, 1))
    rotary = fields.integer("llama.rope.dimension_count", head_dim)
    if rotary != head_dim or fields.integer("llama.attention.value_length", head_dim) != head_dim:
        raise SourceError(f"{fields.where}: keys, values and rotary part of a head differ; that is not supported")
    embedding = tensors.get("token_embd.weight")
    vocab = fields.integer("llama.vocab_size", embedding.stored[0] if embedding else 0)
    config: Config = {
        "hidden_size": hidden,
        "intermediate_size": fields.integer("llama.feed_forward_length"),
        "num_hidden_layers": fields.integer("llama.block_count", high=MAX_LAYERS),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.integer("llama.attention.head_count_kv", heads),
        "head_dim": head_dim,
        "vocab_size": vocab,
        "max_position_embeddings": fields.integer("llama.context_length"),
        "rms_norm_eps": fields.number("llama.attention.layer_norm_rms_epsilon"),
        "hidden_act": "silu",
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in tensors,
        "tie_word_embeddings": "output.weight" not in tensors
        or same_bytes(tensors, "output.weight", "token_embd.weight"),
        "rope_theta": fields.number("llama.rope.freq_base", 10000.0),
    }
    _dimensions(hidden, heads, config["num_key_value_heads"], head_dim, fields.where)
    config["rope_scaling"] = _gguf_scaling(fields, tensors, head_dim, config["max_position_embeddings"])
    return _within_window(config, fields.integer("llama.attention.sliding_window", 0, low=0, high=(1 << 32) - 1))


def _gguf_scaling(
    fields: Fields, tensors: Mapping[str, StoredTensor], head_dim: int, context: int
) -> dict[str, Any] | None:
    """The scaling that a GGUF names or, for Llama 3, holds as divisors of the frequencies."""
    factors = tensors.get("rope_freqs.weight")
    if factors is not None:
        values = factors.float32().reshape(-1)
        if values.size != head_dim // 2 or not (values > 0).all():
            raise SourceError(f"{fields.where}: rope_freqs.weight must hold {head_dim // 2} positive divisors; damaged")
        return {"rope_type": "factors", "factors": [float(value) for value in values]}
    kind = fields.text("llama.rope.scaling.type", "linear")  # as llama.cpp takes a missing one
    if kind == "none":
        return None  # whatever factor stands beside it
    linear = fields.number("llama.rope.scaling.factor", fields.values.get("llama.rope.scale_linear", 1.0), False)
    if kind == "yarn":
        original = fields.integer("llama.rope.scaling.original_context_length", context)
        yarn = {"original_max_position_embeddings": original, "factor": fields.values.get("llama.rope.scaling.factor")}
        for ours, theirs in (("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow")):
            yarn[ours] = fields.values.get(f"llama.rope.scaling.{theirs}")
        scaling = _yarn(Fields(yarn, fields.where), context)
        scaling["attention_factor"] *= fields.number("llama.rope.scaling.attn_factor", 1.0)
        return scaling
    if kind != "linear":
        raise SourceError(f"{fields.where}: RoPE scaling {kind[:40]!r} is not supported; none, linear and yarn are")
    if linear in (0.0, 1.0):
        return None
    return {"rope_type": "linear", "factor": linear}


def shapes(config: Config) -> Shapes:
    """Every tensor with its shape; linear weights are [out, in]."""
    hidden, wide, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    linear = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }
    found: Shapes = {"model.embed_tokens.weight": (vocab, hidden)}
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        found[f"{at}.input_layernorm.weight"] = (hidden,)
        found[f"{at}.post_attention_layernorm.weight"] = (hidden,)
        for name, shape in linear.items():
            found[f"{at}.{name}.weight"] = shape
            if config["attention_bias" if name.startswith("self_attn") else "mlp_bias"]:
                found[f"{at}.{name}.bias"] = shape[:1]
    found["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (vocab, hidden)
    return found


def row_order(name: str, config: Config) -> npt.NDArray[np.int64] | None:
    """GGUF interleaves the two halves of each q and k head (rotary pairs 2i, 2i + 1); where each row went."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(name.split(".")[-2])
    if heads is None:
        return None
    count, half = config[heads], config["head_dim"] // 2
    stored = np.arange(count * half * 2, dtype=np.int64).reshape(count, half, 2)
    return np.ascontiguousarray(stored.swapaxes(1, 2)).reshape(-1)


LLAMA = Family(
    name="llama",
    from_config=from_config,
    from_gguf=from_gguf,
    shapes=shapes,
    gguf_arch=MODEL_ARCH.LLAMA,
    prefix="",
    base="model.",
    embedding="model.embed_tokens.weight",
    ignored=re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq"),
    gguf_ignored=re.compile(r"rope_freqs\.weight|blk\.\d+\.attn_rot_embd"),
    transposed=re.compile(r"(?!)"),
    row_order=row_order,
)
MISTRAL = replace(LLAMA, from_config=from_mistral)
