# SPDX-License-Identifier: Apache-2.0
"""GPT-2's row."""

from tests.support.family_rows import Row

ROW = Row(
    model="GPT2LMHeadModel",
    config={"n_embd": 48, "n_layer": 2, "n_head": 3, "n_positions": 320},
    variants={
        "tied": {},
        "untied": {"tie_word_embeddings": False, "n_inner": 100},
        "exact-gelu": {"activation_function": "gelu"},
        "scaled-by-layer": {"scale_attn_by_inverse_layer_idx": True},
    },
    gguf={},
)
