# SPDX-License-Identifier: Apache-2.0
"""What the importer must know of an architecture: its config keys, its tensors, and how files name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import MODEL_ARCH, get_tensor_name_map

from host.errors import SourceError
from host.importer.fields import Fields
from host.importer.tensor import StoredTensor

Config = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]
MAX_LAYERS = 1024
SUFFIXES = (".weight", ".bias")


@dataclass(frozen=True)
class Family:
    """One architecture."""

    name: str
    from_config: Callable[[Fields], Config]
    """config.json to the canonical config that `Source` documents."""
    from_gguf: Callable[[Fields, Mapping[str, StoredTensor]], Config]
    """GGUF metadata (and tensors, where their presence says something) to the same."""
    shapes: Callable[[Config], Shapes]
    """Every tensor of the model with its canonical shape."""
    gguf_arch: MODEL_ARCH
    prefix: str
    """What Hugging Face puts before some names and `Source` does not."""
    ignored: re.Pattern[str]
    """Names in safetensors that are no weights: buffers that old versions stored."""
    gguf_ignored: re.Pattern[str]
    transposed: re.Pattern[str]
    """Names whose safetensors hold [in, out]."""
    row_order: Callable[[str, Config], npt.NDArray[np.int64] | None]
    """For a canonical name: which GGUF row each canonical row is, or None where they are the same."""


def _listed(names: list[str]) -> str:
    """Up to eight names and how many more."""
    shown = ", ".join(name[:80] for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def canonical_safetensors(family: Family, config: Config, found: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Tensors of safetensors under canonical names, [out, in], checked. Raises SourceError; see `check_tensors`."""
    tensors: dict[str, StoredTensor] = {}
    for stored_name, tensor in found.items():
        name = stored_name.removeprefix(family.prefix)
        if family.ignored.fullmatch(name) or (name == "lm_head.weight" and config["tie_word_embeddings"]):
            continue
        if name in tensors:
            raise SourceError(f"tensor {name[:80]!r} stands in the file with and without {family.prefix!r}")
        turn = bool(family.transposed.fullmatch(name)) and len(tensor.stored) == 2
        tensors[name] = replace(tensor, name=name, transposed=turn)
    return check_tensors(family, config, tensors)


def canonical_gguf(family: Family, config: Config, found: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Tensors of a GGUF under canonical names, rows in canonical order, checked. Raises SourceError."""
    names = get_tensor_name_map(family.gguf_arch, config.get("num_hidden_layers") or config["n_layer"])
    in_file = {}
    for name in family.shapes(config):
        full = name if name == "lm_head.weight" else family.prefix + name
        in_file[names.get_name(full, SUFFIXES) or full] = name
    tensors: dict[str, StoredTensor] = {}
    for stored_name, tensor in found.items():
        if family.gguf_ignored.fullmatch(stored_name) or (
            stored_name == "output.weight" and config["tie_word_embeddings"]
        ):
            continue
        name = in_file.get(stored_name, stored_name)
        tensors[name] = replace(tensor, name=name, order=family.row_order(name, config))
    return check_tensors(family, config, tensors)


def check_tensors(family: Family, config: Config, tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors in the architecture's order. Raises SourceError naming unknown and missing ones and wrong shapes."""
    shapes = family.shapes(config)
    unknown = sorted(set(tensors) - set(shapes))
    if unknown:
        raise SourceError(
            f"{len(unknown)} tensors are not part of a {family.name} model as its config describes it: "
            f"{_listed(unknown)}; this is another architecture, or an adapter that must be merged first"
        )
    missing = [name for name in shapes if name not in tensors]
    if missing:
        raise SourceError(
            f"{len(missing)} of {len(shapes)} tensors are missing: {_listed(missing)}; the file is incomplete, or a "
            "shard of a larger model"
        )
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise SourceError(
                f"tensor {name} has the shape {tensors[name].shape}, the config implies {shape}; config and weights "
                "are of different models"
            )
    return {name: tensors[name] for name in shapes}


def same_bytes(tensors: Mapping[str, StoredTensor], first: str, second: str) -> bool:
    """Whether two tensors of a file are there and identical: a tied output that was written out twice."""
    a, b = tensors.get(first), tensors.get(second)
    if a is None or b is None or (a.kind, a.stored) != (b.kind, b.stored):
        return False
    return bool(np.array_equal(a.raw, b.raw))
