# SPDX-License-Identifier: Apache-2.0
"""XLM-RoBERTa's row."""

from tests.families.bert import ROW as BERT
from tests.support.family_rows import Row

ROW = Row(
    model="XLMRobertaModel",
    config={**BERT.config, "intermediate_size": 96},
    variants={"vectors": {}, "text-labels": {"model": "XLMRobertaForSequenceClassification"}},
)
