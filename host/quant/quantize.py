# SPDX-License-Identifier: Apache-2.0
"""Quantizers: rows of f32 to integers with bf16 scales, in groups of 32 columns; and GGUF blocks passed through.

A weight is ``q * s`` (Q8, Q4) or ``q * s + m`` (Q4M): q in -127..127 for Q8 and in -8..7 for the 4-bit formats (stored
as the nibble q + 8). Scales and minima are rounded to bf16 first and the integers chosen against the rounded ones.
The 4-bit quantizers try several scales for each group and keep the one with the least squared error.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from host.errors import SourceError
from host.files.source import Blocks
from host.quant.bf16 import from_bf16, round_bf16, to_bf16
from host.schema.image import GROUP, Format, align

F32Array = npt.NDArray[np.float32]
I8Array = npt.NDArray[np.int8]
U16Array = npt.NDArray[np.uint16]

CHUNK_GROUPS = 1024
"""Groups worked on at once: 128 KiB of f32, so that the search stays in cache."""
THREADS = 2
SMALLEST = np.float32(2.0**-126)
LARGEST = float(from_bf16(np.array([0x7F7F], np.uint16))[0])
SYMMETRIC_STEPS = (-8.0, 8.0, -7.5, 7.5, -8.6, -7.0, 7.0, -6.3, 6.3)
"""The extreme value of a group becomes this multiple of the scale: -8 is exact, beyond it is clipped."""
CENTRED_SPANS = (15.0, 16.0, 14.2, 17.2)
"""A group's range becomes this many steps: beyond 15 it is clipped on both sides."""
PASS_THROUGH = {"Q4_0": Format.Q4, "Q4_1": Format.Q4M, "Q8_0": Format.Q8}


@dataclass(frozen=True)
class Quantized:
    """Rows of quantized weights, columns padded to whole groups with zeros.

    ``q`` int8 [rows][padded cols]; ``scales`` and ``minima`` bf16 [rows][groups], minima for Q4M only.
    """

    format: Format
    q: I8Array
    scales: U16Array
    minima: U16Array | None

    def take(self, order: npt.NDArray[np.int64]) -> Quantized:
        """The rows ``order``."""
        minima = None if self.minima is None else self.minima[order]
        return Quantized(self.format, self.q[order], self.scales[order], minima)

    def float32(self, cols: int) -> F32Array:
        """What the rows stand for, f32 [rows][cols]."""
        rows, groups = self.scales.shape
        w = self.q.reshape(rows, groups, GROUP).astype(np.float32) * from_bf16(self.scales)[:, :, None]
        if self.minima is not None:
            w = w + from_bf16(self.minima)[:, :, None]
        return np.ascontiguousarray(w.reshape(rows, -1)[:, :cols])

    @staticmethod
    def concat(parts: list[Quantized]) -> Quantized:
        """The rows of all parts, which have one format and width."""
        if len(parts) == 1:
            return parts[0]
        minima = [part.minima for part in parts if part.minima is not None]
        return Quantized(
            parts[0].format,
            np.concatenate([part.q for part in parts]),
            np.concatenate([part.scales for part in parts]),
            np.concatenate(minima) if minima else None,
        )


def quantize(x: F32Array, fmt: Format) -> Quantized:
    """f32 [rows][cols] in format Q8, Q4 or Q4M. ``x`` must be finite."""
    rows, cols = x.shape
    padded = align(cols, GROUP)
    if padded != cols:
        x = np.pad(x, ((0, 0), (0, padded - cols)))
    groups = x.reshape(-1, GROUP)
    q = np.empty(groups.shape, np.int8)
    scales = np.empty(len(groups), np.uint16)
    minima = np.empty(len(groups), np.uint16) if fmt == Format.Q4M else None
    ragged = cols % GROUP if fmt == Format.Q4M else 0

    def work(start: int) -> None:
        at = slice(start, start + CHUNK_GROUPS)
        part = np.ascontiguousarray(groups[at], np.float32)
        if minima is not None:
            if ragged:
                _fill_ragged(part, start, padded // GROUP, ragged)
            q[at], scales[at], minima[at] = _centred(part)
        else:
            q[at], scales[at] = _eight_bit(part) if fmt == Format.Q8 else _symmetric(part)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(0, len(groups), CHUNK_GROUPS)))
    shape = (rows, padded // GROUP)
    q = q.reshape(rows, padded)
    q[:, cols:] = 0
    return Quantized(fmt, q, scales.reshape(shape), None if minima is None else minima.reshape(shape))


def _fill_ragged(part: F32Array, start: int, per_row: int, used: int) -> None:
    """Padding takes the value of the group's last column, lest its zero widen the range."""
    last = (np.arange(start, start + len(part)) % per_row) == per_row - 1
    part[last, used:] = part[last, used - 1 : used]


def _usable(scale: F32Array) -> tuple[F32Array, F32Array]:
    """The scale rounded to bf16 with values below the normal range set to 0, and its reciprocal or 0."""
    s = round_bf16(scale)
    s = np.where((np.abs(s) < SMALLEST) | ~np.isfinite(s), np.float32(0), s)
    inverse = np.divide(np.float32(1), s, out=np.zeros_like(s), where=s != 0)
    return s, inverse


def _eight_bit(x: F32Array) -> tuple[I8Array, U16Array]:
    s, inverse = _usable(np.abs(x).max(axis=1) / np.float32(127))
    q = np.clip(np.rint(x * inverse[:, None]), -127, 127)
    return q.astype(np.int8), to_bf16(s)


def _normalise(x: F32Array) -> tuple[F32Array, npt.NDArray[np.int32]]:
    """Each group times a power of two, so that squares neither overflow nor vanish; and the exponents taken out."""
    exponents = np.maximum(np.frexp(np.abs(x).max(axis=1))[1], -126)
    return x * np.ldexp(np.float32(1), -exponents)[:, None], exponents


def _restore(values: F32Array, exponents: npt.NDArray[np.int32]) -> U16Array:
    """Scales or minima of normalised groups in bf16, clear of infinity and of what lies below the normal range."""
    full = np.clip(np.ldexp(values.astype(np.float64), exponents), -LARGEST, LARGEST)
    return to_bf16(np.where(np.abs(full) < SMALLEST, 0, full).astype(np.float32))


class _Search:
    """The best 4-bit scales (and minima) tried so far for normalised groups ``x`` [groups][32]."""

    def __init__(self, x: F32Array) -> None:
        self.x = x
        self.q = np.zeros_like(x)
        self.s = np.zeros(len(x), np.float32)
        self.m = np.zeros(len(x), np.float32)
        self._error = np.full(len(x), np.inf, np.float32)
        self._trial = np.empty_like(x)
        self._off = np.empty_like(x)

    def attempt(self, scale: F32Array, minimum: F32Array | None = None) -> None:
        """Quantize with these scales and keep the groups that became better. Buffers are used again: it is the cost."""
        s, inverse = _usable(scale)
        trial, off = self._trial, self._off
        target = self.x if minimum is None else np.subtract(self.x, minimum[:, None], out=off)
        np.multiply(target, inverse[:, None], out=trial)
        np.rint(trial, out=trial)
        np.clip(trial, -8, 7, out=trial)
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


def _symmetric(x: F32Array) -> tuple[I8Array, U16Array]:
    x, exponents = _normalise(x)
    extreme = x[np.arange(len(x)), np.abs(x).argmax(axis=1)]
    best = _Search(x)
    for step in SYMMETRIC_STEPS:
        best.attempt(extreme / np.float32(step))
    power = np.einsum("ij,ij->i", best.q, best.q)
    joint = np.einsum("ij,ij->i", best.q, x)
    best.attempt(np.divide(joint, power, out=np.zeros_like(power), where=power > 0))
    return best.q.astype(np.int8), _restore(best.s, exponents)


def _centred(x: F32Array) -> tuple[I8Array, U16Array, U16Array]:
    x, exponents = _normalise(x)
    low, high, mean_x = x.min(axis=1), x.max(axis=1), x.mean(axis=1)
    best = _Search(x)
    for span in CENTRED_SPANS:
        s, _ = _usable((high - low) / np.float32(span))
        # The nibbles' centre is -0.5, not 0, so the centre of the range lies half a step below the minimum term.
        best.attempt(s, round_bf16((low + high + s) * np.float32(0.5)))
    for _ in range(2):
        mean_q = best.q.mean(axis=1)
        spread = np.einsum("ij,ij->i", best.q, best.q) / GROUP - mean_q * mean_q
        joint = np.einsum("ij,ij->i", best.q, x) / GROUP - mean_q * mean_x
        slope, _ = _usable(np.divide(joint, spread, out=best.s.copy(), where=spread > 0))
        best.attempt(slope, round_bf16(mean_x - slope * mean_q))
    return best.q.astype(np.int8), _restore(best.s, exponents), _restore(best.m, exponents)


def from_blocks(blocks: Blocks, name: str) -> Quantized | None:
    """GGUF blocks [rows] as they are, only their f16 scales rounded to bf16.

    None where they cannot be: another kind of block, or a Q8_0 with -128, which does not exist here. SourceError for a
    scale that is no number.
    """
    fmt = PASS_THROUGH.get(blocks.kind)
    if fmt is None:
        return None
    head = 4 if fmt == Format.Q4M else 2
    size = head + (GROUP if fmt == Format.Q8 else GROUP // 2)
    rows = blocks.data.shape[0]
    data = blocks.data.reshape(rows, -1, size)
    halves = np.ascontiguousarray(data[:, :, :head]).view("<f2").astype(np.float32)
    if not np.isfinite(halves).all():
        raise SourceError(f"tensor {name} has a scale that is not a number; the file is damaged")
    scale = halves[:, :, 0]
    body = data[:, :, head:]
    if fmt == Format.Q8:
        q = np.ascontiguousarray(body).view(np.int8)
        if (q == -128).any():
            return None
        return Quantized(fmt, q.reshape(rows, -1), to_bf16(scale), None)
    q = np.concatenate([body & 15, body >> 4], axis=2).astype(np.int8) - np.int8(8)
    minima = to_bf16(halves[:, :, 1] + 8 * scale) if fmt == Format.Q4M else None
    return Quantized(fmt, q.reshape(rows, -1), to_bf16(scale), minima)
