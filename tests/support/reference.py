# SPDX-License-Identifier: Apache-2.0
"""docs/numerics.md in numpy, written for clarity: what kernels and ops must equal bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from host.schema.bf16 import from_bf16
from host.schema.image import GROUP
from host.schema.weights import Quantized

f32 = np.float32
F32 = npt.NDArray[np.float32]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
MAGIC = f32(12582912.0)


def hexf(text: str) -> np.float32:
    return f32(float.fromhex(text))


def fma(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> F32:
    """a * b + c rounded once, exactly: the product is exact in float64, and rounding the sum to odd there makes the
    second rounding harmless."""
    with np.errstate(all="ignore"):
        p = np.asarray(a, np.float64) * np.asarray(b, np.float64)
        d = np.asarray(c, np.float64)
        s = np.atleast_1d(p + d)
        t = s - p
        error = np.broadcast_to((p - (s - t)) + (d - t), s.shape)
        bits = s.view(np.int64)
        even = np.isfinite(s) & (error != 0) & (bits % 2 == 0)
        s = np.where(even, (bits + np.where((error > 0) == (s > 0), 1, -1)).view(np.float64), s)
        return s.astype(f32).reshape(np.broadcast_shapes(p.shape, d.shape))


def polynomial(x: F32, *coefficients: str) -> F32:
    """Horner's scheme with fma, highest coefficient first."""
    p: F32 = np.full_like(x, hexf(coefficients[0]))
    for c in coefficients[1:]:
        p = fma(p, x, hexf(c))
    return p


# ---- elementary functions ----


def rint(x: F32) -> F32:
    return (x + MAGIC) - MAGIC


def exp2_int(n: I32) -> F32:
    return ((n + 127).astype(np.uint32) << np.uint32(23)).view(f32)


def exp(x: npt.ArrayLike) -> F32:
    x = np.asarray(x, f32)
    x = np.where(x < 89, x, f32(89))
    x = np.where(x > -104, x, f32(-104))
    n = rint(x * hexf("0x1.715476p+0"))
    r = fma(n, hexf("0x1.05c610p-29"), fma(n, -hexf("0x1.62e430p-1"), x))
    q = polynomial(r, "0x1.6db5b4p-10", "0x1.123c78p-7", "0x1.55545cp-5", "0x1.55548ep-3", "0x1p-1")
    p = fma(r * r, q, r) + f32(1)
    i = n.astype(np.int32)
    with np.errstate(over="ignore", under="ignore"):
        return (p * exp2_int(i >> 1)) * exp2_int(i - (i >> 1))


LOG2_E = hexf("0x1.715476p+0")


@np.errstate(invalid="ignore")
def exp2(x: npt.ArrayLike) -> F32:
    """For x up to 0; the exponent is added as an integer."""
    x = np.asarray(x, f32)
    x = np.where(x > -127, x, f32(-127))
    n = rint(x)
    p = polynomial(
        x - n, "0x1.5bd97cp-10", "0x1.3ce8b2p-7", "0x1.c6b6dap-5", "0x1.ebf9c2p-3", "0x1.62e42ap-1", "0x1p+0"
    )
    return (p.view(np.int32) + n.astype(np.int32) * (1 << 23)).view(f32)


def tanh(x: npt.ArrayLike) -> F32:
    x = np.asarray(x, f32)
    a, s = np.abs(x), x * x
    p = polynomial(s, "-0x1.6f41bep-8", "0x1.50b812p-6", "-0x1.b806a2p-5", "0x1.1105a2p-3", "-0x1.55552cp-2")
    large = f32(1) - f32(2) / (exp(a + a) + f32(1))
    return np.where(a < f32(0.625), fma(x * s, p, x), np.copysign(large, x))


def erf(x: npt.ArrayLike) -> F32:
    x = np.asarray(x, f32)
    a, s = np.abs(x), x * x
    p = polynomial(
        s,
        "0x1.5e0622p-14",
        "-0x1.aaa2d4p-11",
        "0x1.54d42ap-8",
        "-0x1.b80ff2p-6",
        "0x1.ce2e1cp-4",
        "-0x1.812744p-2",
        "0x1.06eba8p-3",
    )
    t = np.where(a < 4, a, f32(4))
    q = polynomial(
        t,
        "-0x1.82a36ep-17",
        "0x1.5579d8p-12",
        "-0x1.dee886p-9",
        "0x1.85b31ep-6",
        "-0x1.b34106p-4",
        "-0x1.453088p-1",
        "-0x1.077acap-3",
    )
    large = f32(1) - exp(fma(t, q, -t))
    return np.where(a < f32(0.93), fma(x, p, x), np.copysign(large, x))


def sincos(x: npt.ArrayLike) -> tuple[F32, F32]:
    x = np.clip(np.asarray(x, f32), f32(-4e6), f32(4e6))
    n = rint(x * hexf("0x1.45f306p-1"))
    r = fma(n, -hexf("0x1.921fb6p+0"), x)
    r = fma(n, hexf("0x1.ee59dap-50"), fma(n, hexf("0x1.777a5cp-25"), r))
    z = r * r
    p = polynomial(z, "0x1.6bb6e0p-19", "-0x1.a00a66p-13", "0x1.111102p-7", "-0x1.555556p-3")
    s = fma(r * z, p, r)
    q = polynomial(z, "0x1.98a34ap-16", "-0x1.6c076ap-10", "0x1.555542p-5")
    c = fma(z * z, q, fma(z, f32(-0.5), f32(1)))
    quadrant = n.astype(np.int64) & 3
    even, odd = np.where(quadrant & 1, c, s), np.where(quadrant & 1, s, c)
    return np.where(quadrant & 2, -even, even), np.where((quadrant + 1) & 2, -odd, odd)


@np.errstate(over="ignore", invalid="ignore")
def activate(x: F32, kind: str) -> F32:
    half = f32(0.5) * x
    if kind == "SILU":
        return x / (f32(1) + exp(-x))
    if kind == "GELU_TANH":
        inner = f32(0.7978845608) * (x + f32(0.044715) * ((x * x) * x))
        return half * (f32(1) + tanh(inner))
    if kind == "GELU_ERF":
        return half * (f32(1) + erf(x * f32(0.70710678)))
    if kind == "TANH":
        return tanh(x)
    return np.where(x > 0, x, f32(0)) if kind == "RELU" else x


# ---- reductions ----


def fold(lanes: F32) -> np.float32:
    for width in (16, 8, 4, 2, 1):
        lanes = lanes[:width] + lanes[width : 2 * width]
    return f32(lanes[0])


def dot(a: F32, b: F32) -> np.float32:
    """Sum of a[i] * b[i] in 32 lanes."""
    lanes = np.zeros(32, f32)
    for i in range(0, len(a), 32):
        n = len(a[i : i + 32])
        lanes[:n] = fma(a[i : i + 32], b[i : i + 32], lanes[:n])
    return fold(lanes)


def total(x: F32) -> np.float32:
    """Sum in 32 lanes."""
    lanes = np.zeros(32, f32)
    for i in range(0, len(x), 32):
        part = x[i : i + 32]
        lanes[: len(part)] += part
    return fold(lanes)


# ---- quantized values ----


def quantize_one(x: F32) -> tuple[I8, np.float32]:
    """A group, or a head, with one scale."""
    amax = f32(np.nanmax(np.abs(x), initial=0))
    scale = amax / f32(127)
    if scale < f32(2.0**-126):
        return np.zeros(len(x), np.int8), f32(0)
    with np.errstate(invalid="ignore", over="ignore"):
        v = x * (f32(1) / scale)
    v = np.where(v < 127, v, f32(127))
    v = np.where(v > -127, v, f32(-127))
    return rint(v).astype(np.int8), scale


@dataclass
class Q8A:
    """Rows of quantized activations: values [rows][padded], scales and sums [rows][groups]."""

    values: I8
    scales: F32
    sums: I32

    @staticmethod
    def of(x: F32) -> Q8A:
        rows, width = x.shape
        groups = -(-width // GROUP)
        q = Q8A(
            np.zeros((rows, groups * GROUP), np.int8), np.zeros((rows, groups), f32), np.zeros((rows, groups), np.int32)
        )
        for r in range(rows):
            for g in range(groups):
                part = x[r, g * GROUP : (g + 1) * GROUP]
                values, q.scales[r, g] = quantize_one(part)
                q.values[r, g * GROUP : g * GROUP + len(part)] = values
                q.sums[r, g] = values.sum(dtype=np.int32)
        return q


# ---- attention ----

WEIGHT_SUM = f32(8192)


@np.errstate(invalid="ignore", over="ignore")
def integer_weights(p: F32, scales: F32) -> tuple[I32, np.float32]:
    """The weights of a block, [n], times the values' scales as integers, and what these are to be multiplied by."""
    t = p * scales
    t = np.where(t > 0, t, f32(0))
    whole = total(t)
    factor = f32(whole / WEIGHT_SUM)
    if not f32(2.0**-100) <= whole < np.inf:
        return np.zeros(len(t), np.int32), factor
    return rint(t * (WEIGHT_SUM / whole)).astype(np.int32), factor


# ---- linear ----


def linear_quantized(w: Quantized, x: Q8A) -> F32:
    """[input rows][weight rows]."""
    rows, groups = w.scales.shape
    scales = from_bf16(w.scales)
    acc = np.zeros((len(x.values), rows), f32)
    for t in range(len(x.values)):
        for g in range(groups):
            at = slice(g * GROUP, (g + 1) * GROUP)
            sums = w.q[:, at].astype(np.int32) @ x.values[t, at].astype(np.int32)
            with np.errstate(under="ignore"):
                acc[t] = fma(sums.astype(f32), x.scales[t, g] * scales[:, g], acc[t])
            if w.minima is not None:
                acc[t] = fma(from_bf16(w.minima[:, g]), x.scales[t, g] * f32(x.sums[t, g]), acc[t])
    return acc


def linear_float(w: F32, x: F32) -> F32:
    acc = np.zeros((len(x), len(w)), f32)
    for k in range(w.shape[1]):
        acc = fma(w[None, :, k], x[:, k, None], acc)
    return acc
