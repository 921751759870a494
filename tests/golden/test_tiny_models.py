# SPDX-License-Identifier: Apache-2.0
"""Random models saved by transformers, through import, compiler and engine: logits, layers and tokens are its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import parity
from tests.support.family_rows import CASES, head_of, rows
from tests.support.native import Native
from tools.parity import CLOSE, COSINE, DIVERGENCE, misses


@pytest.mark.parametrize(("family", "variant"), CASES)
def test_f32_is_the_references(family: str, variant: str, native: Native, tmp_path: Path) -> None:
    found = parity.exact(native, family, variant, tmp_path)
    assert found.logits < CLOSE
    assert max(found.layers) < CLOSE
    assert found.greedy == (None if head_of(family) else parity.GREEDY)
    assert found.kl < 1e-9


@pytest.mark.parametrize("family", list(rows()))
def test_q8_is_near(family: str, native: Native, tmp_path: Path) -> None:
    variant = next(iter(rows()[family].variants))
    if head_of(family):
        assert parity.near(native, family, variant, tmp_path) > COSINE
        return
    found = parity.quantized(native, family, variant, tmp_path)
    assert found.entropy <= parity.ENTROPY
    assert found.kl < DIVERGENCE


def test_a_missed_target_is_named() -> None:
    good = parity.Exact(1e-6, (1e-6, 1e-5), parity.GREEDY, 0.0)
    near = parity.Quantized(0.01, 1.0, 2.0)
    assert list(misses(good, near)) == []
    bad = parity.Exact(float("nan"), (1e-6, 1e-3), 3, 0.0)
    assert list(misses(bad, parity.Quantized(0.03, 1.0, 2.0))) == ["logits", "layers", "greedy", "q8 KL"]
