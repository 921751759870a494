# SPDX-License-Identifier: Apache-2.0
"""Phi-3's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.5, 2.0, 2.5, 3.0, 3.5],
    "long_factor": [2.0] * 6,
    "partial_rotary_factor": 0.75,
}
ROW = Row(
    model="Phi3ForCausalLM",
    config={**LLAMA.config, "pad_token_id": 0, "original_max_position_embeddings": 384},
    variants={
        "window": {"sliding_window": 50},
        "long": {"max_position_embeddings": 4096, "rope_parameters": LONG},
        "longer": {
            "max_position_embeddings": 4096,
            "original_max_position_embeddings": 96,
            "rope_parameters": {**LONG, "long_factor": [2.0, 2.5, 3.0, 4.0, 5.0, 6.0]},
        },
    },
    gguf={},
)
