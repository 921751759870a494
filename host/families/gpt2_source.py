# SPDX-License-Identifier: Apache-2.0
"""GPT-2 and DistilGPT2 as files hold them: learned positions, LayerNorm, fused qkv, Conv1D weights turned to [out, in].

Keys as in transformers' GPT2Config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from gguf import MODEL_ARCH

from host.errors import SourceError
from host.families.activation import ACTIVATIONS
from host.families.names import MAX_LAYERS, Config, Family, Shapes, same_bytes
from host.files.fields import Fields
from host.files.tensor import StoredTensor

CONV1D = r"h\.\d+\.(?:attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight"


def _heads(width: int, heads: int, where: str) -> None:
    if width % heads:
        raise SourceError(f"{where}: a width of {width} is no multiple of {heads} heads; the config is damaged")


def from_config(fields: Fields) -> Config:
    """Canonical config from config.json."""
    width, heads = fields.integer("n_embd"), fields.integer("n_head")
    _heads(width, heads, fields.where)
    if fields.flag("add_cross_attention", False):
        raise SourceError(f"{fields.where}: add_cross_attention is set; decoders with an encoder are not supported")
    return {
        "n_embd": width,
        "n_inner": fields.integer("n_inner", 4 * width),
        "n_layer": fields.integer("n_layer", high=MAX_LAYERS),
        "n_head": heads,
        "n_positions": fields.integer("n_positions", fields.values.get("n_ctx", 1024)),
        "vocab_size": fields.integer("vocab_size"),
        "layer_norm_epsilon": fields.number("layer_norm_epsilon", 1e-5),
        "activation_function": fields.choice("activation_function", tuple(ACTIVATIONS), "gelu_new"),
        "scale_attn_weights": fields.flag("scale_attn_weights", True),
        "scale_attn_by_inverse_layer_idx": fields.flag("scale_attn_by_inverse_layer_idx", False),
        "tie_word_embeddings": fields.flag("tie_word_embeddings", True),
    }


def from_gguf(fields: Fields, tensors: Mapping[str, StoredTensor]) -> Config:
    """Canonical config from GGUF metadata."""
    width, heads = fields.integer("gpt2.embedding_length"), fields.integer("gpt2.attention.head_count")
    _heads(width, heads, fields.where)
    embedding = tensors.get("token_embd.weight")
    return {
        "n_embd": width,
        "n_inner": fields.integer("gpt2.feed_forward_length", 4 * width),
        "n_layer": fields.integer("gpt2.block_count", high=MAX_LAYERS),
        "n_head": heads,
        "n_positions": fields.integer("gpt2.context_length"),
        "vocab_size": fields.integer("gpt2.vocab_size", embedding.stored[0] if embedding else 0),
        "layer_norm_epsilon": fields.number("gpt2.attention.layer_norm_epsilon", 1e-5),
        "activation_function": "gelu_new",
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "tie_word_embeddings": "output.weight" not in tensors
        or same_bytes(tensors, "output.weight", "token_embd.weight"),
    }


def shapes(config: Config) -> Shapes:
    """Every tensor with its shape; linear weights are [out, in]."""
    width, inner = config["n_embd"], config["n_inner"]
    found: Shapes = {"wte.weight": (config["vocab_size"], width), "wpe.weight": (config["n_positions"], width)}
    linear = {
        "attn.c_attn": (3 * width, width),
        "attn.c_proj": (width, width),
        "mlp.c_fc": (inner, width),
        "mlp.c_proj": (width, inner),
    }
    for layer in range(config["n_layer"]):
        for norm in ("ln_1", "ln_2"):
            found[f"h.{layer}.{norm}.weight"] = (width,)
            found[f"h.{layer}.{norm}.bias"] = (width,)
        for name, shape in linear.items():
            found[f"h.{layer}.{name}.weight"] = shape
            found[f"h.{layer}.{name}.bias"] = shape[:1]
    found["ln_f.weight"] = (width,)
    found["ln_f.bias"] = (width,)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (config["vocab_size"], width)
    return found


def row_order(_name: str, _config: Config) -> npt.NDArray[np.int64] | None:
    """GGUF keeps GPT-2's rows as they are."""
    return None


GPT2 = Family(
    name="gpt2",
    from_config=from_config,
    from_gguf=from_gguf,
    shapes=shapes,
    gguf_arch=MODEL_ARCH.GPT2,
    prefix="transformer.",
    base="",
    embedding="wte.weight",
    ignored=re.compile(r"h\.\d+\.attn\.(?:bias|masked_bias)"),
    gguf_ignored=re.compile(r"(?!)"),
    transposed=re.compile(CONV1D),
    row_order=row_order,
)
