# SPDX-License-Identifier: Apache-2.0
"""RoBERTa's row."""

from tests.families.bert import ROW as BERT
from tests.support.family_rows import Row

ROW = Row(
    model="RobertaModel",
    config={**BERT.config},
    variants={
        "vectors": {},
        "text-labels": {"model": "RobertaForSequenceClassification", "pad_token_id": 0},
        "token-labels": {"model": "RobertaForTokenClassification"},
    },
)
