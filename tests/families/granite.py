# SPDX-License-Identifier: Apache-2.0
"""Granite's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="GraniteForCausalLM",
    config={
        **LLAMA.config,
        "embedding_multiplier": 12.0,
        "residual_multiplier": 0.25,
        "attention_multiplier": 0.125,
        "logits_scaling": 2.0,
    },
    variants={"plain": {"tie_word_embeddings": True}, "biases": {"attention_bias": True, "mlp_bias": True}},
    gguf={"embedding_scale": 12.0, "residual_scale": 0.25, "attention.scale": 0.125, "logit_scale": 2.0},
)
