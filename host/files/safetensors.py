# SPDX-License-Identifier: Apache-2.0
"""Safetensors, one file or sharded. The `safetensors` library checks header, sizes and overlaps; data stay mapped."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from host.errors import SourceError
from host.files.fields import read_json, refuse_pointer
from host.files.tensor import PLAIN, StoredTensor
from host.foreign import open_regular, parse_json, words
from host.words import shown

MAX_SHARDS = 4096
MAX_RANK = 8
MAX_ELEMENTS = 1 << 40
MAX_TENSORS = 1 << 16
MAX_HEADER = 16 << 20
"""Of a header in bytes: a tensor takes some 120, and the largest models have 20,000 in a file."""


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Tensors of one file by name. Raises SourceError when the file is damaged or a dtype is not a float."""
    refuse_pointer(path)
    name = shown(path.name)
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER:
                raise ValueError(f"a header of {length} bytes, more than the {MAX_HEADER} that are read")
            header = parse_json(file.read(length), MAX_HEADER)
        with safe_open(path, framework="numpy"):
            pass
        whole = np.memmap(path, np.uint8, "r")
    except (SafetensorError, OSError, ValueError, RecursionError, MemoryError) as error:
        raise SourceError(
            f"{name} is not a whole safetensors file: {shown(str(error))}; copy or download it again"
        ) from error
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise SourceError(f"{name} holds {len(header)} tensors, at most {MAX_TENSORS} are allowed; the file is damaged")
    tensors = {}
    for key, entry in header.items():
        if not isinstance(entry, dict):  # the library takes lists as well
            raise SourceError(f"{name}: tensor {words(key)} is described by no object; the file is damaged")
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        if len(shape) > MAX_RANK or math.prod(max(length, 1) for length in shape) > MAX_ELEMENTS:
            raise SourceError(f"{name}: tensor {words(key)} has the shape {words(shape)}; the file is damaged")
        raw = whole[8 + length + begin : 8 + length + end]
        tensors[key] = StoredTensor(key, entry["dtype"], shape, raw)
    return tensors


def check_dtypes(tensors: dict[str, StoredTensor], where: str) -> None:
    """Raises SourceError that lists the tensors whose element type is not one of the floats that can be read."""
    wrong = [
        f"{shown(tensor.name, 80)} ({shown(tensor.kind, 20)})"
        for tensor in tensors.values()
        if tensor.kind not in PLAIN
    ]
    if wrong:
        raise SourceError(
            f"{where}: {len(wrong)} tensors have element types that are not read: {', '.join(wrong[:6])}; "
            f"supported are {', '.join(PLAIN)}: take the model in bf16 or f16, or a GGUF of it"
        )


def shard_paths(index: Path) -> list[Path]:
    """The files that an index names. Raises SourceError on missing or odd names.

    Which tensors it names is not looked at: old ones name buffers that no file has, and what is missing is noticed.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise SourceError(f"{index.name} has no weight_map; copy or download it again")
    names = sorted({str(name) for name in weight_map.values()})
    if len(names) > MAX_SHARDS:
        raise SourceError(f"{index.name} names {len(names)} files, at most {MAX_SHARDS} are allowed; it is damaged")
    odd = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if odd:
        raise SourceError(f"{index.name} names {words(odd[0])}, which is no safetensors file beside it; it is damaged")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise SourceError(
            f"{index.name} names files that are not there: {shown(', '.join(missing[:6]))}; copy them beside it"
        )
    return [index.parent / name for name in names]


def open_sharded(index: Path) -> tuple[list[Path], dict[str, StoredTensor]]:
    """All shards that an index names, and their tensors. Raises SourceError on missing files and doubled tensors."""
    paths = shard_paths(index)
    tensors: dict[str, StoredTensor] = {}
    for path in paths:
        for name, tensor in open_safetensors(path).items():
            if name in tensors:
                raise SourceError(
                    f"tensor {words(name)} stands in {shown(path.name)} and in another shard; copy them again"
                )
            tensors[name] = tensor
    return paths, tensors
