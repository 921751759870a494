# SPDX-License-Identifier: Apache-2.0
"""Scales and integers for groups of weights: rounded to bf16 first, searched for the least squared error.

search.py says what is computed. Where there is a compiler, scales.c computes it: the same bits, twenty times as fast.
``x`` is finite f32 [n][32]; the results are integers int8 [n][32], and scales and minima in bf16 [n].
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from host.compiled import NotCompiled, library
from host.schema import search
from host.schema.image import GROUP
from host.schema.search import usable_scale

__all__ = ["compiled", "round_to_largest", "search_line", "search_scale", "slowed_by", "usable_scale"]

F32Array = npt.NDArray[np.float32]
I8Array = npt.NDArray[np.int8]
U16Array = npt.NDArray[np.uint16]

SOURCE = Path(__file__).with_name("scales.c")
MOST_TRIALS = 16
"""Steps or spans that a search may try."""


@functools.cache
def _loaded() -> ctypes.CDLL | NotCompiled:
    try:
        return library(SOURCE, GROUP=GROUP, MOST_TRIALS=MOST_TRIALS)
    except NotCompiled as error:
        return error


def compiled() -> ctypes.CDLL | None:
    """The functions of scales.c; None where they cannot be had."""
    found = _loaded()
    return None if isinstance(found, NotCompiled) else found


def slowed_by() -> str | None:
    """Why numpy has to do all of it; None where it has not."""
    found = _loaded()
    return str(found) if isinstance(found, NotCompiled) else None


def search_scale(x: F32Array, low: int, high: int, steps: Sequence[float]) -> tuple[I8Array, U16Array]:
    """See `host.schema.search.search_scale`."""
    functions = compiled()
    if functions is None:
        return search.search_scale(x, low, high, steps)
    x, q, scales = _buffers(x)
    functions.search_scale(_at(x), _count(x), low, high, _floats(steps), len(steps), _at(q), _at(scales))
    return q, scales


def search_line(
    x: F32Array, low: int, high: int, spans: Sequence[float], fits: int
) -> tuple[I8Array, U16Array, U16Array]:
    """See `host.schema.search.search_line`."""
    functions = compiled()
    if functions is None:
        return search.search_line(x, low, high, spans, fits)
    x, q, scales = _buffers(x)
    minima = np.empty_like(scales)
    given = _floats(spans), len(spans), fits
    functions.search_line(_at(x), _count(x), low, high, *given, _at(q), _at(scales), _at(minima))
    return q, scales, minima


def round_to_largest(x: F32Array, high: int) -> tuple[I8Array, U16Array]:
    """See `host.schema.search.round_to_largest`."""
    functions = compiled()
    if functions is None:
        return search.round_to_largest(x, high)
    x, q, scales = _buffers(x)
    functions.round_to_largest(_at(x), _count(x), high, _at(q), _at(scales))
    return q, scales


def _buffers(x: F32Array) -> tuple[F32Array, I8Array, U16Array]:
    """``x`` as C reads it, and room for integers and scales. Raises ValueError where it is no [n][GROUP]."""
    if x.ndim != 2 or x.shape[1] != GROUP:
        raise ValueError(f"groups are [n][{GROUP}], not {list(x.shape)}")
    return np.ascontiguousarray(x, np.float32), np.empty(x.shape, np.int8), np.empty(len(x), np.uint16)


def _at(array: npt.NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _count(x: F32Array) -> ctypes.c_int64:
    return ctypes.c_int64(len(x))


def _floats(values: Sequence[float]) -> ctypes.Array[ctypes.c_float]:
    """Room for MOST_TRIALS, the rest zeros. Raises IndexError where there are more."""
    return (ctypes.c_float * MOST_TRIALS)(*values)
