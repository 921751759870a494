# SPDX-License-Identifier: Apache-2.0
"""Safetensors, one file or sharded. The `safetensors` library checks header, sizes and overlaps; data stay mapped."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from host.errors import SourceError
from host.importer.fields import read_json, refuse_pointer
from host.importer.tensor import PLAIN, StoredTensor

MAX_SHARDS = 4096
MAX_RANK = 8
MAX_ELEMENTS = 1 << 40


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Tensors of one file by name. Raises SourceError when the file is damaged or a dtype is not a float."""
    refuse_pointer(path)
    try:
        with safe_open(path, framework="numpy"):
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        whole = np.memmap(path, np.uint8, "r")
    except (SafetensorError, OSError, ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"{path.name} is not a whole safetensors file: {error}; copy or download it again") from error
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if not isinstance(entry, dict):  # the library takes lists as well
            raise SourceError(f"{path.name}: tensor {name[:80]!r} is described by no object; the file is damaged")
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        if len(shape) > MAX_RANK or math.prod(max(length, 1) for length in shape) > MAX_ELEMENTS:
            raise SourceError(f"{path.name}: tensor {name[:80]!r} has the shape {str(shape)[:80]}; the file is damaged")
        raw = whole[8 + length + begin : 8 + length + end]
        tensors[name] = StoredTensor(name, entry["dtype"], shape, raw)
    return tensors


def check_dtypes(tensors: dict[str, StoredTensor], where: str) -> None:
    """Raises SourceError that lists the tensors whose element type is not one of the floats that can be read."""
    wrong = [f"{tensor.name} ({tensor.kind})" for tensor in tensors.values() if tensor.kind not in PLAIN]
    if wrong:
        raise SourceError(
            f"{where}: {len(wrong)} tensors have element types that are not read: {', '.join(wrong[:6])}; "
            f"supported are {', '.join(PLAIN)}: take the model in bf16 or f16, or a GGUF of it"
        )


def shard_paths(index: Path) -> tuple[list[Path], dict[str, str]]:
    """The files that an index names, and which tensor lies in which. Raises SourceError on missing or odd names."""
    weight_map = read_json(index, limit=64 << 20).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise SourceError(f"{index.name} has no weight_map; copy or download it again")
    names = sorted({str(name) for name in weight_map.values()})
    if len(names) > MAX_SHARDS:
        raise SourceError(f"{index.name} names {len(names)} files, at most {MAX_SHARDS} are allowed; it is damaged")
    odd = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if odd:
        raise SourceError(f"{index.name} names {odd[0][:80]!r}, which is no safetensors file beside it; it is damaged")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise SourceError(f"{index.name} names files that are not there: {', '.join(missing[:6])}; copy them beside it")
    return [index.parent / name for name in names], weight_map


def open_sharded(index: Path) -> tuple[list[Path], dict[str, StoredTensor]]:
    """All shards that an index names, and their tensors. Raises SourceError on missing or doubled tensors."""
    paths, weight_map = shard_paths(index)
    tensors: dict[str, StoredTensor] = {}
    for path in paths:
        for name, tensor in open_safetensors(path).items():
            if name in tensors:
                raise SourceError(f"tensor {name[:80]!r} stands in {path.name} and in another shard; copy them again")
            tensors[name] = tensor
    absent = sorted(set(weight_map) - set(tensors))
    if absent:
        raise SourceError(f"{index.name} names tensors that no shard holds: {', '.join(absent[:6])}; copy them again")
    return paths, tensors
