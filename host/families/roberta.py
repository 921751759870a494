# SPDX-License-Identifier: Apache-2.0
"""RoBERTa: a BERT whose positions begin behind the padding's. Liu et al., arXiv:1907.11692."""

from __future__ import annotations

import re
from dataclasses import fields as record_fields
from dataclasses import replace

from host.families.bert import NAMES as BERT
from host.families.parts.decoder import Decoder, Dense, Head, Names
from host.families.parts.encoder import bert, read_head
from host.families.parts.family import Family
from host.files.fields import Fields
from host.ops.pool import PoolKind
from host.schema.image import Activation, OutputKind


def renamed(names: Names, old: str, new: str) -> Names:
    """The same names behind another prefix."""
    found = {each.name: getattr(names, each.name) for each in record_fields(names)}
    return Names(**{key: name and re.sub(f"^{re.escape(old)}", new, name) for key, name in found.items()})


NAMES = renamed(BERT, "bert.", "roberta.")


def head(labels: tuple[str, ...], width: int) -> Head:
    """The first row through a layer of the classifier's own."""
    dense = (Dense("classifier.dense", width, Activation.TANH), Dense("classifier.out_proj", len(labels)))
    return Head(OutputKind.LABELS, (PoolKind.FIRST,), dense, labels=labels)


def read(fields: Fields) -> Decoder:
    """Rows of the positions up to ``pad_token_id`` are unused."""
    d = bert(fields, {}, NAMES, unused=True)
    return replace(d, head=read_head(fields, lambda labels: head(labels, d.width)))


FAMILY = Family(
    read=read,
    refused=("heads that answer questions, and that of the language model",),
    base="roberta.",
    ignored=re.compile(r"roberta\.embeddings\.position_ids|roberta\.pooler\..*|(?:roberta\.)?lm_head\..*"),
)
