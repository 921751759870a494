# SPDX-License-Identifier: Apache-2.0
"""Gemma 2's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="Gemma2ForCausalLM",
    config={**LLAMA.config, "head_dim": 24, "sliding_window": 45, "query_pre_attn_scalar": 24},
    variants={
        "plain": {},
        "tight-caps": {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 40},
        "no-caps": {
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "layer_types": ["full_attention", "sliding_attention"],
        },
    },
    gguf={"attention.sliding_window": 45, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
)
