# SPDX-License-Identifier: Apache-2.0
"""Scales for groups of weights: rounded to bf16 first, searched for the least squared error in formats of few bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from host.schema.bf16 import from_bf16, round_bf16, to_bf16

F32Array = npt.NDArray[np.float32]
U16Array = npt.NDArray[np.uint16]

SMALLEST = np.float32(2.0**-126)
LARGEST = float(from_bf16(np.array([0x7F7F], np.uint16))[0])


def usable_scale(scale: F32Array) -> tuple[F32Array, F32Array]:
    """The scale rounded to bf16 with values below the normal range set to 0, and its reciprocal or 0."""
    s = round_bf16(scale)
    s = np.where((np.abs(s) < SMALLEST) | ~np.isfinite(s), np.float32(0), s)
    inverse = np.divide(np.float32(1), s, out=np.zeros_like(s), where=s != 0)
    return s, inverse


def normalise(x: F32Array) -> tuple[F32Array, npt.NDArray[np.int32]]:
    """Each group times a power of two, so that squares neither overflow nor vanish; and the exponents taken out."""
    exponents = np.maximum(np.frexp(np.abs(x).max(axis=1))[1], -126)
    return x * np.ldexp(np.float32(1), -exponents)[:, None], exponents


def restore(values: F32Array, exponents: npt.NDArray[np.int32]) -> U16Array:
    """Scales or minima of normalised groups in bf16, clear of infinity and of what lies below the normal range."""
    full = np.clip(np.ldexp(values.astype(np.float64), exponents), -LARGEST, LARGEST)
    return to_bf16(np.where(np.abs(full) < SMALLEST, 0, full).astype(np.float32))


class ScaleSearch:
    """The best scales (and minima) tried so far for normalised groups ``x`` [groups][32] as integers in low..high.

    ``q``, ``s`` and ``m`` are the integers, as f32, the scales and the minima of the best.
    """

    def __init__(self, x: F32Array, low: int, high: int) -> None:
        self.x = x
        self.q = np.zeros_like(x)
        self.s = np.zeros(len(x), np.float32)
        self.m = np.zeros(len(x), np.float32)
        self._limits = low, high
        self._error = np.full(len(x), np.inf, np.float32)
        self._trial = np.empty_like(x)
        self._off = np.empty_like(x)

    def attempt(self, scale: F32Array, minimum: F32Array | None = None) -> None:
        """Quantize with these scales and keep the groups that became better. Buffers are used again: it is the cost."""
        s, inverse = usable_scale(scale)
        trial, off = self._trial, self._off
        target = self.x if minimum is None else np.subtract(self.x, minimum[:, None], out=off)
        np.multiply(target, inverse[:, None], out=trial)
        np.rint(trial, out=trial)
        np.clip(trial, *self._limits, out=trial)
        np.multiply(trial, s[:, None], out=off)
        if minimum is not None:
            off += minimum[:, None]
        off -= self.x
        error = np.einsum("ij,ij->i", off, off)
        better = error < self._error
        np.copyto(self.q, trial, where=better[:, None])
        np.copyto(self.s, s, where=better)
        np.copyto(self._error, error, where=better)
        if minimum is not None:
            np.copyto(self.m, minimum, where=better)
