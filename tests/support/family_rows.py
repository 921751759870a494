# SPDX-License-Identifier: Apache-2.0
"""What tests know of a family: one row, in a file of tests/families that is named like the family's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from host.families import family_of
from host.families.parts.build import shapes
from host.families.parts.decoder import Head
from host.files.fields import Fields
from host.files.source import Source
from tests.support.tiny import Maker, tiny_tokenizer

FOLDER = Path(__file__).resolve().parents[1] / "families"


@dataclass(frozen=True)
class Row:
    """A tiny model of a family, and what of it is compared."""

    model: str
    """The class in transformers; a variant's key "model" names another one."""
    config: Mapping[str, Any]
    """Keys of a tiny model: those of config.json."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"plain": {}})
    """By name, keys that make another model of it; each is compared with transformers."""
    width: int = 64
    """Of the layers."""
    gguf: Mapping[str, Any] | None = None
    """Metadata of its GGUF beyond the usual, by key without the architecture. None: the family has no GGUFs."""


def rows() -> dict[str, Row]:
    """All rows by family."""
    names = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
    return {name: import_module(f"tests.families.{name}").ROW for name in names}


CASES = [(family, variant) for family, row in rows().items() for variant in row.variants]


def head_of(family: str, **changes: Any) -> Head | None:
    """The head of the row's model where it is an encoder."""
    return family_of(family, "row")[1].read(Fields(_config(family, changes), "row")).head


def _config(family: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    row = rows()[family]
    return {"vocab_size": 131, "architectures": [row.model]} | dict(row.config) | dict(changes)


def tiny_model(family: str, seed: int = 1, **changes: Any) -> Source:
    """The row's model with random weights; ``changes`` are config keys. What it has of tensors, the graph asks for."""
    config = _config(family, changes)
    make = Maker(seed)
    for name, shape in shapes(family_of(family, "row")[1].read(Fields(config, "row"))).items():
        if len(shape) == 1:
            make.vector(name, shape[0], 0.0 if name.endswith("bias") else 1.0)
        else:
            make.matrix(name, shape[0], shape[1], 1.0 if "emb" in name or name.startswith("wte") else None)
    return Source(family, config, make.tensors, tiny_tokenizer(), f"tiny-{family}", {"format": "random", "seed": seed})


def torch_model(family: str, variant: str) -> Any:
    """transformers' model of a row, its weights so large that a wrong one shows; norms and biases are random, too."""
    import torch
    import transformers

    row = rows()[family]
    torch.manual_seed(11)
    keys = {"vocab_size": 257, "model": row.model} | dict(row.config) | dict(row.variants[variant])
    kind = getattr(transformers, keys.pop("model"))
    model = kind(kind.config_class(**keys))
    with torch.no_grad():
        for name, values in model.named_parameters():
            if values.ndim == 1:
                centre = 1.0 if name.endswith("weight") else 0.0
                values.copy_(centre + 0.2 * torch.randn_like(values))
            else:
                values.copy_(torch.randn_like(values) * (0.7 if "emb" in name or "wte" in name else 0.15))
    return model.eval()


def divergence(found: np.ndarray, wanted: np.ndarray) -> float:
    """Mean over rows of the Kullback-Leibler divergence of two sets of logits [row][vocab], in nats."""

    def log_softmax(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64) - x.max(axis=-1, keepdims=True)
        return np.asarray(x - np.log(np.exp(x).sum(axis=-1, keepdims=True)))

    p, q = log_softmax(wanted), log_softmax(found)
    return float((np.exp(p) * (p - q)).sum(axis=-1).mean())
