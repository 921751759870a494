# SPDX-License-Identifier: Apache-2.0
"""The elementary functions of docs/numerics.md: how far they are from the exact ones."""

from __future__ import annotations

import math

import numpy as np

from tests.support import reference
from tests.support.ops import F32, spread


def ulps(found: F32, exact: np.ndarray) -> float:
    return float(np.max(np.abs(found.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32))))


def test_functions_are_as_accurate_as_math_h_says() -> None:
    x = np.clip(spread(103), None, np.float32(88.7))
    assert ulps(reference.exp(x), np.exp(x.astype(np.float64))) < 1.1
    x = -np.abs(spread(126))
    assert ulps(reference.exp2(x), np.exp2(x.astype(np.float64))) < 2.0
    x = spread(20)
    assert ulps(reference.tanh(x), np.tanh(x.astype(np.float64))) < 1.4
    x = spread(6, 20_000)
    assert ulps(reference.erf(x), np.vectorize(math.erf)(x.astype(np.float64))) < 1.1
    near = (np.arange(-600_000, 600_000, 17) * (math.pi / 2)).astype(np.float32)
    x = np.concatenate([spread(1e6), near])
    sines, cosines = reference.sincos(x)
    assert ulps(sines, np.sin(x.astype(np.float64))) < 1.6
    assert ulps(cosines, np.cos(x.astype(np.float64))) < 1.6


def test_exp_at_its_ends() -> None:
    x = np.array([np.inf, 88.73, 88.72, 0, -103.97, -103.98, -np.inf, np.nan], np.float32)
    expected = np.array([np.inf, np.inf, np.exp(np.float64(x[2])), 1, 2.0**-149, 0, 0, np.inf], np.float32)
    np.testing.assert_allclose(reference.exp(x), expected, rtol=2e-7)


def test_exp_never_falls() -> None:
    """Where its argument's exponent changes as elsewhere: the sampler finds a cut by halving."""
    edges = np.concatenate([-(np.arange(44) + 0.5) * math.log(2), -np.geomspace(2.0**-26, 30, 99)]).astype(np.float32)
    bits = edges.view(np.uint32)[:, None] + np.arange(2000, -2000, -1)
    x = bits.astype(np.uint32).view(np.float32)
    assert (np.diff(x, axis=1) > 0).all()
    assert (np.diff(reference.exp(x), axis=1) >= 0).all()


def test_exp2_at_its_ends() -> None:
    x = np.array([0, -1, -126, -126.5, -127, -200, -np.inf, np.nan], np.float32)
    found = reference.exp2(x)
    np.testing.assert_array_equal(found[[0, 1, 2, 4, 5, 6, 7]], np.array([1, 0.5, 2.0**-126, 0, 0, 0, 0], np.float32))
    assert 0 <= found[3] < 2.0**-126
