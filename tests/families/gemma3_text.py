# SPDX-License-Identifier: Apache-2.0
"""Gemma 3's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="Gemma3ForCausalLM",
    config={
        **LLAMA.config,
        "num_hidden_layers": 6,
        "head_dim": 24,
        "sliding_window": 45,
        "query_pre_attn_scalar": 24,
        "rope_theta": 1e6,
    },
    variants={
        "plain": {},
        "scaled": {
            "num_hidden_layers": 2,
            "query_pre_attn_scalar": 40,
            "layer_types": ["full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
    },
    gguf={"attention.sliding_window": 45},
)
