# SPDX-License-Identifier: Apache-2.0
"""OPT's row."""

from tests.support.family_rows import Row

ROW = Row(
    model="OPTForCausalLM",
    config={
        "hidden_size": 64,
        "ffn_dim": 112,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 384,
        "word_embed_proj_dim": 64,
    },
    variants={
        "plain": {},
        "untied": {"tie_word_embeddings": False, "activation_function": "gelu"},
        "no-biases": {"enable_bias": False},
        "norms-after": {"do_layer_norm_before": False},
        "no-last-norm": {"_remove_final_layer_norm": True},
    },
)
