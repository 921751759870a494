# SPDX-License-Identifier: Apache-2.0
"""Scales and integers of groups in numpy: what the search computes, in which order. scales.c does the same faster.

Every sum has an order of its own here, so that all machines give the same bytes. ``x`` is finite f32 [n][32]; the
results are integers int8 [n][32], and scales and minima in bf16 [n].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from host.schema.bf16 import from_bf16, round_bf16, to_bf16
from host.schema.image import GROUP

F32Array = npt.NDArray[np.float32]
I8Array = npt.NDArray[np.int8]
U16Array = npt.NDArray[np.uint16]

_QUIET = np.errstate(over="ignore", invalid="ignore")
"""A trial far off the mark may leave the range; it is not taken then."""
SMALLEST = np.float32(2.0**-126)
LARGEST = float(from_bf16(np.array([0x7F7F], np.uint16))[0])


def usable_scale(scale: F32Array) -> tuple[F32Array, F32Array]:
    """The scale rounded to bf16 with values below the normal range set to 0, and its reciprocal or 0."""
    s = round_bf16(scale)
    s = np.where((np.abs(s) < SMALLEST) | ~np.isfinite(s), np.float32(0), s)
    inverse = np.divide(np.float32(1), s, out=np.zeros_like(s), where=s != 0)
    return s, inverse


@_QUIET
def search_scale(x: F32Array, low: int, high: int, steps: Sequence[float]) -> tuple[I8Array, U16Array]:
    """The scales of least squared error among those by which the extreme value of a group is one of ``steps``.

    The best of them is then fitted to its integers by least squares, and kept where that is better.
    """
    columns, exponents = _normalise(x)
    extreme = columns[np.abs(columns).argmax(axis=0), np.arange(len(x))]
    best = _Search(columns, low, high)
    for step in steps:
        best.attempt(extreme / np.float32(step))
    q = best.integers()
    power, joint = _dot(q, q), _dot(q, columns)
    best.attempt(np.divide(joint, power, out=np.zeros_like(power), where=power > 0))
    return best.rows(), _restore(best.s, exponents)


@_QUIET
def search_line(
    x: F32Array, low: int, high: int, spans: Sequence[float], fits: int
) -> tuple[I8Array, U16Array, U16Array]:
    """Scales and minima of least squared error among those by which a group's range is one of ``spans``.

    The best of them is then fitted to its integers ``fits`` times as a line by least squares, and kept where better.
    """
    columns, exponents = _normalise(x)
    first, last, mean_x = columns.min(axis=0), columns.max(axis=0), _mean(columns)
    best = _Search(columns, low, high)
    for span in spans:
        s, _ = usable_scale((last - first) / np.float32(span))
        # The nibbles' centre is -0.5, not 0, so the centre of the range lies half a step below the minimum term.
        best.attempt(s, round_bf16((first + last + s) * np.float32(0.5)))
    for _ in range(fits):
        q = best.integers()
        mean_q = _mean(q)
        spread = _dot(q, q) / GROUP - mean_q * mean_q
        joint = _dot(q, columns) / GROUP - mean_q * mean_x
        slope, _ = usable_scale(np.divide(joint, spread, out=best.s.copy(), where=spread > 0))
        best.attempt(slope, round_bf16(mean_x - slope * mean_q))
    return best.rows(), _restore(best.s, exponents), _restore(best.m, exponents)


def round_to_largest(x: F32Array, high: int) -> tuple[I8Array, U16Array]:
    """The scales by which the largest magnitude of a group is ``high``."""
    s, inverse = usable_scale(np.abs(x).max(axis=1) / np.float32(high))
    q = np.clip(np.rint(x * inverse[:, None]), -high, high)
    return q.astype(np.int8), to_bf16(s)


# Below, groups stand side by side, [32][n]: so each operation runs along thousands of numbers.


def _dot(a: F32Array, b: F32Array) -> F32Array:
    """Sums of products [n]: in 4 lanes, column i in lane i mod 4; of 16 columns the last 4 are added first."""
    products = (a * b).reshape(GROUP // 16, 4, 4, -1)
    lanes = np.zeros(products.shape[2:], np.float32)
    for part in products:
        for four in part[::-1]:
            lanes += four
    total: F32Array = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    return total


def _mean(x: F32Array) -> F32Array:
    """Means [n]: in 8 lanes, folded in pairs of neighbours."""
    lanes: F32Array = x[:8].copy()
    for first in range(8, GROUP, 8):
        lanes += x[first : first + 8]
    while len(lanes) > 1:
        lanes = lanes[0::2] + lanes[1::2]
    mean: F32Array = lanes[0] / np.float32(GROUP)
    return mean


def _normalise(x: F32Array) -> tuple[F32Array, npt.NDArray[np.int32]]:
    """Each group times a power of two, so that squares neither overflow nor vanish; and the exponents taken out."""
    columns = np.ascontiguousarray(x.T)
    exponents = np.maximum(np.frexp(np.abs(columns).max(axis=0))[1], -126)
    columns = columns * np.ldexp(np.float32(1), -exponents)
    return columns, exponents


def _restore(values: F32Array, exponents: npt.NDArray[np.int32]) -> U16Array:
    """Scales or minima of normalised groups in bf16, clear of infinity and of what lies below the normal range."""
    full = np.clip(np.ldexp(values.astype(np.float64), exponents), -LARGEST, LARGEST)
    return to_bf16(np.where(np.abs(full) < SMALLEST, 0, full).astype(np.float32))


class _Search:
    """The best scales ``s`` and minima ``m`` tried so far for normalised groups ``x`` as integers in low..high."""

    def __init__(self, x: F32Array, low: int, high: int) -> None:
        self.x = x
        self.s, self.m, self._inverse = np.zeros((3, x.shape[1]), np.float32)
        self._error = np.full(x.shape[1], np.inf, np.float32)
        self._limits = np.float32(low), np.float32(high)
        self._trial = np.empty_like(x)

    def _nearest(self, inverse: F32Array, minimum: F32Array) -> F32Array:
        trial = np.subtract(self.x, minimum, out=self._trial)
        trial *= inverse
        np.rint(trial, out=trial)
        return np.clip(trial, *self._limits, out=trial)

    def attempt(self, scale: F32Array, minimum: F32Array | None = None) -> None:
        """Quantize with these scales, and keep those of the groups that became better."""
        s, inverse = usable_scale(scale)
        minimum = np.zeros_like(s) if minimum is None else minimum
        off = self._nearest(inverse, minimum)
        off *= s
        off += minimum
        off -= self.x
        error = _dot(off, off)
        better = error < self._error
        for kept, found in ((self._error, error), (self.s, s), (self._inverse, inverse), (self.m, minimum)):
            np.copyto(kept, found, where=better)

    def integers(self) -> F32Array:
        """The integers of the best, as f32; good until the next attempt."""
        return self._nearest(self._inverse, self.m)

    def rows(self) -> I8Array:
        """The integers of the best, int8 [n][32]."""
        return np.ascontiguousarray(self.integers().astype(np.int8).T)
