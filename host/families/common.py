# SPDX-License-Identifier: Apache-2.0
"""What architectures share: reading tensors and config keys with errors that name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.errors import SourceError
from host.families.activation import ACTIVATIONS
from host.files.source import Source
from host.ir.graph import Vector, Weight
from host.schema.image import Activation


def activation(name: Any) -> Activation:
    """The activation of that Hugging Face name, or SourceError."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise SourceError(f"the model's activation function is {name!r}, which is not supported; supported are {known}")
    return ACTIVATIONS[name]


def integer(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A positive whole number of the config, or SourceError naming the key."""
    value = config.get(key)
    if value is None:
        value = default
    if value is None:
        raise SourceError(f"the model's config has no {key!r}; config.json is incomplete or of another architecture")
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise SourceError(f"the model's config has {key} = {value!r}; a positive whole number is needed")
    return value


def number(config: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A positive finite number of the config, or SourceError naming the key."""
    value = config.get(key)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise SourceError(f"the model's config has {key} = {value!r}; a positive number is needed")
    return float(value)


def refuse(source: Source, neutral: Mapping[str, tuple[Any, ...]]) -> None:
    """SourceError if a config key that changes the mathematics has another value than those it may have."""
    for key, allowed in neutral.items():
        value = source.config.get(key)
        if value is not None and value not in allowed:
            raise SourceError(
                f"the model's config has {key} = {value!r}, which changes its mathematics and is not supported for "
                f"{source.architecture}; the result would be wrong, so it is refused"
            )


def weight(source: Source, name: str, rows: int, cols: int) -> Weight:
    """A linear weight [rows][cols] (outputs, inputs), or SourceError if missing or of another shape."""
    tensor = source.tensors.get(name)
    if tensor is None:
        raise SourceError(f"tensor {name} is missing in {source.name}; the file is incomplete or not a causal LM")
    if tuple(tensor.shape) != (rows, cols):
        raise SourceError(f"tensor {name} is {list(tensor.shape)} where the config asks for [{rows}, {cols}]")
    return Weight(name, (tensor,))


def vector(source: Source, name: str, size: int) -> Vector:
    """A vector [size], or SourceError if missing or of another shape."""
    tensor = source.tensors.get(name)
    if tensor is None:
        raise SourceError(f"tensor {name} is missing in {source.name}; the file is incomplete or not a causal LM")
    if tuple(tensor.shape) != (size,):
        raise SourceError(f"tensor {name} is {list(tensor.shape)} where the config asks for [{size}]")
    return Vector(name, tensor.float32())
