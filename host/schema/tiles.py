# SPDX-License-Identifier: Apache-2.0
"""A tile's 64 rows turned, so that the values of a column lie side by side."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Value = TypeVar("Value", bound=np.generic)

LINE = 64
"""Bytes of a line of the cache."""


def turned(tiles: npt.NDArray[Value]) -> npt.NDArray[Value]:
    """[tile][64][columns] as [tile][columns][64].

    Rows that are a power of two apart would push each other out of the cache (six times as slow), so a copy has them
    a line further apart.
    """
    count, rows, columns = tiles.shape
    apart: npt.NDArray[Any] = np.empty((count, rows, columns + LINE // tiles.itemsize), tiles.dtype)
    apart[:, :, :columns] = tiles
    return np.ascontiguousarray(apart[:, :, :columns].transpose(0, 2, 1))
