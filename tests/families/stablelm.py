# SPDX-License-Identifier: Apache-2.0
"""StableLM's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="StableLmForCausalLM",
    config={**LLAMA.config, "partial_rotary_factor": 0.25},
    variants={
        "plain": {},
        "biases": {"use_qkv_bias": True},
        "side-by-side": {"use_parallel_residual": True},
    },
    gguf={},
)
