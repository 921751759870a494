# SPDX-License-Identifier: Apache-2.0
"""bfloat16 as numpy has no type for it: the upper half of a binary32, rounded to nearest even."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F32Array = npt.NDArray[np.float32]
U16Array = npt.NDArray[np.uint16]


def to_bf16(x: F32Array) -> U16Array:
    """Finite ``x`` rounded to nearest even; what rounds beyond the largest bf16 becomes infinity."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)).astype(np.uint16)


def from_bf16(x: U16Array) -> F32Array:
    """Exact."""
    return np.left_shift(x, np.uint32(16), dtype=np.uint32).view(np.float32)


def round_bf16(x: F32Array) -> F32Array:
    """``x`` rounded to what bf16 can hold, as f32."""
    return from_bf16(to_bf16(x))
