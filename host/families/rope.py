# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding: frequencies and attention factor from a Hugging Face config."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from host.errors import SourceError
from host.families.common import number

F64Array = npt.NDArray[np.float64]

PARAMETERS = {
    "default": set[str](),
    "linear": {"factor"},
    "factors": {"factors"},
    "llama3": {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"},
    "yarn": {
        "factor",
        "original_max_position_embeddings",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
    },
}
COMMON = {"rope_type", "type", "rope_theta", "partial_rotary_factor", "finetuned", "original_max_position_embeddings"}


def rope_frequencies(config: Mapping[str, Any], head_dim: int) -> tuple[npt.NDArray[np.float32], float]:
    """Radians a position for each of head_dim / 2 pairs, and the factor of cos and sin.

    Reads ``rope_parameters`` (transformers 5) or ``rope_scaling`` with ``rope_theta`` (before). SourceError for
    scalings that depend on the length of the sequence or are unknown.
    """
    scaling = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    kind = str(scaling.get("rope_type", scaling.get("type", "default")))
    _check(kind, scaling)
    theta = number(scaling, "rope_theta", number(config, "rope_theta", 10000.0))
    if scaling.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise SourceError("the model rotates only a part of each head (partial_rotary_factor), which is not supported")
    base = theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    scale: Callable[..., tuple[F64Array, float]] = SCALINGS[kind]
    frequencies, factor = scale(base, scaling, config, theta)
    return frequencies.astype(np.float32), factor


def _check(kind: str, scaling: Mapping[str, Any]) -> None:
    if kind in ("dynamic", "longrope"):
        raise SourceError(
            f"the model's RoPE scaling is {kind!r}: its frequencies depend on the length of the sequence, so "
            "cached keys would have to be rotated again; it is not supported. Linear, llama3 and yarn are"
        )
    if kind not in SCALINGS:
        raise SourceError(f"the model's RoPE scaling is {kind!r}; supported are {', '.join(sorted(SCALINGS))}")
    unknown = {key for key, value in scaling.items() if value is not None} - PARAMETERS[kind] - COMMON
    if unknown:
        raise SourceError(f"the model's RoPE scaling {kind!r} has unknown parameters: {', '.join(sorted(unknown))}")


def _default(
    base: F64Array, scaling: Mapping[str, Any], config: Mapping[str, Any], theta: float
) -> tuple[F64Array, float]:
    del scaling, config, theta
    return base, 1.0


def _linear(
    base: F64Array, scaling: Mapping[str, Any], config: Mapping[str, Any], theta: float
) -> tuple[F64Array, float]:
    del config, theta
    return base / number(scaling, "factor"), 1.0


def _factors(
    base: F64Array, scaling: Mapping[str, Any], config: Mapping[str, Any], theta: float
) -> tuple[F64Array, float]:
    """What a GGUF's rope_freqs tensor says: one divisor a pair."""
    del config, theta
    factors = np.asarray(scaling.get("factors", []), np.float64)
    if factors.shape != base.shape or not (np.isfinite(factors) & (factors > 0)).all():
        raise SourceError(f"the model's RoPE factors must be {len(base)} positive numbers; they are {factors.tolist()}")
    return base / factors, 1.0


def _llama3(
    base: F64Array, scaling: Mapping[str, Any], config: Mapping[str, Any], theta: float
) -> tuple[F64Array, float]:
    """Llama 3.1: long wavelengths divided by the factor, short ones kept, between them a blend."""
    del theta
    factor, low, high = (number(scaling, key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = number(scaling, "original_max_position_embeddings", config.get("max_position_embeddings"))
    if high <= low:
        raise SourceError(
            f"the model's llama3 RoPE scaling has high_freq_factor {high} not above low_freq_factor {low}"
        )
    wavelength = 2 * math.pi / base
    smooth = (original / wavelength - low) / (high - low)
    blend = (1 - smooth) * base / factor + smooth * base
    scaled = np.where(wavelength > original / low, base / factor, blend)
    return np.where(wavelength < original / high, base, scaled), 1.0


def _yarn(
    base: F64Array, scaling: Mapping[str, Any], config: Mapping[str, Any], theta: float
) -> tuple[F64Array, float]:
    """YaRN (arXiv:2309.00071): interpolation and extrapolation blended by dimension, and an attention factor."""
    original = number(scaling, "original_max_position_embeddings", config.get("max_position_embeddings"))
    factor = number(scaling, "factor", number(config, "max_position_embeddings", original) / original)
    half = len(base)

    def dimension(rotations: float) -> float:
        return half * math.log(original / (rotations * 2 * math.pi)) / math.log(theta)

    low = dimension(number(scaling, "beta_fast", 32.0))
    high = dimension(number(scaling, "beta_slow", 1.0))
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * half - 1)
    ramp = np.clip((np.arange(half) - low) / (high - low if high != low else 0.001), 0, 1)
    return base / factor * ramp + base * (1 - ramp), _yarn_attention(scaling, factor)


def _yarn_attention(scaling: Mapping[str, Any], factor: float) -> float:
    if scaling.get("attention_factor") is not None:
        return number(scaling, "attention_factor")

    def mscale(by: float) -> float:
        return 0.1 * by * math.log(factor) + 1.0 if factor > 1 else 1.0

    if scaling.get("mscale") and scaling.get("mscale_all_dim"):
        return mscale(number(scaling, "mscale")) / mscale(number(scaling, "mscale_all_dim"))
    return mscale(1.0)


SCALINGS: dict[str, Callable[..., tuple[F64Array, float]]] = {
    "default": _default,
    "linear": _linear,
    "factors": _factors,
    "llama3": _llama3,
    "yarn": _yarn,
}
