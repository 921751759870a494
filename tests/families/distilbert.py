# SPDX-License-Identifier: Apache-2.0
"""DistilBERT's row."""

from tests.support.family_rows import Row

ROW = Row(
    model="DistilBertModel",
    config={
        "dim": 64,
        "hidden_dim": 112,
        "n_layers": 2,
        "n_heads": 4,
        "max_position_embeddings": 384,
        "num_labels": 5,
    },
    variants={
        "vectors": {},
        "text-labels": {"model": "DistilBertForSequenceClassification"},
        "token-labels": {"model": "DistilBertForTokenClassification", "sinusoidal_pos_embds": True},
    },
)
