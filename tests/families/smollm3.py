# SPDX-License-Identifier: Apache-2.0
"""SmolLM3's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="SmolLM3ForCausalLM",
    config={**LLAMA.config, "num_hidden_layers": 4, "pad_token_id": 0},
    variants={
        "plain": {},
        "windows": {"no_rope_layers": [1, 0, 0, 1], "use_sliding_window": True, "sliding_window": 33},
    },
    gguf={},
)
