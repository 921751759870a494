# SPDX-License-Identifier: Apache-2.0
"""Phi-2's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="PhiForCausalLM",
    config={**LLAMA.config, "partial_rotary_factor": 0.5},
    variants={"plain": {}, "rotated-less": {"partial_rotary_factor": 0.25, "num_key_value_heads": 4}},
    gguf={},
)
