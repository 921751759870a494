# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding: frequencies and the factor of cos and sin, from the keys of a config.

Su et al., arXiv:2104.09864; the scalings as transformers' modeling_rope_utils computes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from host.errors import SourceError
from host.files.fields import Fields

F64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rope:
    """Radians a position for each pair of lanes (i, i + half) of a head, and what multiplies cos and sin."""

    frequencies: tuple[float, ...]
    """Numbers in f32."""
    scale: float = 1.0
    beyond: tuple[float, ...] = ()
    """Those of a context of more than ``original`` positions, where it has others."""
    original: int = 0

    def array(self, context: int = 0) -> npt.NDArray[np.float32]:
        """The frequencies of all positions of a context, f32 [half]: keys that are cached cannot change theirs."""
        return np.array(self.beyond if self.beyond and context > self.original else self.frequencies, np.float32)


def read_rope(
    fields: Fields, head_dim: int, context: int, theta: float = 10000.0, partial: bool = False, part: float = 1.0
) -> Rope:
    """The rotation of heads of ``head_dim`` lanes; of their first lanes alone where the family knows that (partial).

    Reads ``rope_parameters`` (transformers 5), or ``rope_scaling`` and ``rope_theta`` (before). ``theta`` and ``part``
    (of a head's lanes): where they say none. SourceError for scalings that are unknown or depend on the length of the
    sequence.
    """
    scaling = _parameters(fields)
    kind = scaling.text("rope_type", scaling.any("type") or "default")
    kind = LONG if kind == "su" else kind
    if kind not in SCALINGS or (kind == LONG and not partial):
        raise SourceError(
            f"{fields.where}: RoPE scaling {kind[:40]!r} is not supported; supported are default, linear, dynamic "
            "(within the model's context), llama3 and yarn"
        )
    theta = scaling.number("rope_theta", theta)
    rotary = _rotary(fields, scaling, head_dim, partial, part)
    _refuse_rest(kind, scaling)
    with np.errstate(all="ignore"):
        base = theta ** -(np.arange(0, rotary, 2, dtype=np.float64) / rotary)
        frequencies, scale = SCALINGS[kind](base, scaling, context, theta)
        rope = Rope(_numbers(frequencies), scale)
        if kind == LONG and scaling.has("long_factor"):
            original = scaling.integer("original_max_position_embeddings", context)
            rope = replace(
                rope, beyond=_numbers(base / _divisors(scaling, "long_factor", len(base))), original=original
            )
    if not all(map(math.isfinite, (*rope.frequencies, *rope.beyond, rope.scale))):
        raise SourceError(f"{fields.where}: the frequencies of RoPE scaling {kind!r} are not finite; damaged config")
    return rope


def _rotary(fields: Fields, scaling: Fields, head_dim: int, partial: bool, default: float) -> int:
    """How many lanes of a head are rotated."""
    part = scaling.number("partial_rotary_factor", default)
    if part != 1.0 and not partial:
        name = fields.name("partial_rotary_factor")
        raise SourceError(f"{fields.where}: {name} says that a part of each head is rotated; that is not supported")
    rotary = int(head_dim * part + 1e-6)
    if not 0 < rotary <= head_dim or rotary % 2:
        raise SourceError(f"{fields.where}: {rotary} of {head_dim} lanes of a head cannot be rotated; damaged config")
    return rotary


def _parameters(fields: Fields) -> Fields:
    """All parameters of the rotation, the newer keys before the older ones."""
    alone = ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
    values: dict[str, Any] = {key: value for key in alone if (value := fields.any(key)) is not None}
    for key in ("rope_scaling", "rope_parameters"):
        found = fields.any(key)
        if found is not None and not isinstance(found, Mapping):
            raise SourceError(f"{fields.where}: {key} is no object; the config is damaged")
        values.update({name: value for name, value in (found or {}).items() if value is not None})
    return Fields(values, f"{fields.where}, RoPE")


def _refuse_rest(kind: str, scaling: Fields) -> None:
    """SourceError for parameters that no scaling has."""
    unknown = sorted(set(scaling.values) - KNOWN)
    if unknown:
        listed = ", ".join(repr(name[:40]) for name in unknown[:4])
        raise SourceError(f"{scaling.where}: the scaling {kind!r} has unknown parameters: {listed}")


def _plain(base: F64Array, scaling: Fields, context: int, theta: float) -> tuple[F64Array, float]:
    """Frequencies as they are.

    Dynamic scaling is that, too: it changes nothing up to the model's context, and packing refuses a longer one.
    """
    del scaling, context, theta
    return base, 1.0


def _linear(base: F64Array, scaling: Fields, context: int, theta: float) -> tuple[F64Array, float]:
    del context, theta
    return base / scaling.number("factor"), 1.0


def _divided(base: F64Array, scaling: Fields, context: int, theta: float) -> tuple[F64Array, float]:
    """What a GGUF's rope_freqs tensor says: one divisor a pair."""
    del context, theta
    factors = np.asarray(scaling.any("factors"), np.float64)
    if factors.shape != base.shape or not (np.isfinite(factors) & (factors > 0)).all():
        raise SourceError(f"{scaling.where}: rope_freqs.weight must hold {len(base)} positive divisors; damaged")
    return base / factors, 1.0


def _llama3(base: F64Array, scaling: Fields, context: int, theta: float) -> tuple[F64Array, float]:
    """Llama 3.1: long wavelengths divided by the factor, short ones kept, between them a blend."""
    del theta
    factor, low, high = (scaling.number(key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(scaling.integer("original_max_position_embeddings", context))
    if high <= low:
        raise SourceError(f"{scaling.where}: high_freq_factor {high} is not above low_freq_factor {low}")
    wavelength = 2 * math.pi / base
    smooth = (original / wavelength - low) / (high - low)
    blend = (1 - smooth) * base / factor + smooth * base
    scaled = np.where(wavelength > original / low, base / factor, blend)
    return np.where(wavelength < original / high, base, scaled), 1.0


def _yarn(base: F64Array, scaling: Fields, context: int, theta: float) -> tuple[F64Array, float]:
    """YaRN (Peng et al., arXiv:2309.00071): inter- and extrapolation blended by pair, and an attention factor."""
    original = float(scaling.integer("original_max_position_embeddings", context))
    factor = scaling.number("factor", context / original)
    half = len(base)
    if theta <= 1:
        raise SourceError(f"{scaling.where}: rope_theta is {theta}, YaRN needs more than 1; the config is damaged")

    def pair(rotations: float) -> float:
        return half * math.log(original / (rotations * 2 * math.pi)) / math.log(theta)

    low, high = pair(scaling.number("beta_fast", 32.0)), pair(scaling.number("beta_slow", 1.0))
    if scaling.flag("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * half - 1)
    ramp = np.clip((np.arange(half) - low) / (high - low if high != low else 0.001), 0, 1)
    return base / factor * ramp + base * (1 - ramp), _yarn_factor(scaling, factor)


def _yarn_factor(scaling: Fields, factor: float) -> float:
    """What multiplies cos and sin (section 3.4); ``attention_multiplier`` is a GGUF's further factor."""

    def by(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    mscale, all_dim = (scaling.number(key, 0.0, positive=False) for key in ("mscale", "mscale_all_dim"))
    if mscale < 0 or all_dim < 0:
        raise SourceError(
            f"{scaling.where}: mscale and mscale_all_dim are {mscale} and {all_dim}; the config is damaged"
        )
    implied = by(mscale) / by(all_dim) if mscale and all_dim else by(1.0)
    return scaling.number("attention_factor", implied) * scaling.number("attention_multiplier", 1.0)


def _numbers(values: F64Array) -> tuple[float, ...]:
    """In f32."""
    return tuple(values.astype(np.float32).tolist())


def _divisors(scaling: Fields, key: str, count: int) -> F64Array:
    """One divisor a pair of lanes, f64 [count]."""
    found = scaling.any(key)
    if not isinstance(found, list) or not all(isinstance(each, (int, float)) for each in found):
        raise SourceError(f"{scaling.where}: {key} is no list of numbers; the config is damaged")
    factors = np.asarray(found, np.float64)
    if factors.shape != (count,) or not (np.isfinite(factors) & (factors > 0)).all():
        raise SourceError(f"{scaling.where}: {key} must hold {count} positive divisors; damaged config")
    return factors


def _long(base: F64Array, scaling: Fields, context: int, theta: float) -> tuple[F64Array, float]:
    """LongRoPE (Ding et al., arXiv:2402.13753), the divisors of contexts up to the original one."""
    del theta
    original = scaling.integer("original_max_position_embeddings", context, low=2)
    factors = _divisors(scaling, "short_factor", len(base))
    by = scaling.number("factor", context / original)
    implied = math.sqrt(1 + math.log(by) / math.log(original)) if by > 1 else 1.0
    return base / factors, scaling.number("attention_factor", implied)


LONG = "longrope"
SCALINGS: dict[str, Callable[[F64Array, Fields, int, float], tuple[F64Array, float]]] = {
    "default": _plain,
    "dynamic": _plain,
    "linear": _linear,
    "factors": _divided,
    "llama3": _llama3,
    "yarn": _yarn,
    LONG: _long,
}
KNOWN = {
    *("rope_type", "type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings", "finetuned"),
    *("factor", "factors", "low_freq_factor", "high_freq_factor", "attention_factor", "attention_multiplier"),
    *("beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", "short_factor", "long_factor"),
}
"""Parameters of scalings. One that stands beside a scaling that does not use it says nothing."""
