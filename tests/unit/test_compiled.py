# SPDX-License-Identifier: Apache-2.0
"""C functions of the toolkit: the bits of their numpy reference, and what happens where nothing can be compiled."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host import compiled
from host.compiled import NotCompiled, library
from host.errors import UsageError
from host.schema import scales, search
from host.schema.formats.q4 import STEPS
from host.schema.formats.q4m import FITS, SPANS

TWICE = "float twice(float x) { return FACTOR * x; }\n"
Q3_STEPS = tuple(float(step) for step in np.linspace(3, 4.4, scales.MOST_TRIALS))
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "q4": lambda module, x: module.search_scale(x, -8, 7, STEPS),
    "three bits, all trials": lambda module, x: module.search_scale(x, -4, 3, Q3_STEPS),
    "q4m": lambda module, x: module.search_line(x, -8, 7, SPANS, FITS),
    "q8": lambda module, x: module.round_to_largest(x, 127),
}


def same(x: np.ndarray, call: Callable[[Any, Any], Any]) -> bool:
    """Whether C and numpy give the same bytes."""
    assert scales.slowed_by() is None
    pairs = zip(call(scales, x), call(search, x), strict=True)
    return all(ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes() for ours, theirs in pairs)


def hostile() -> np.ndarray:
    """Groups at the ends of what f32 holds, finite as everything that is packed."""
    rng = np.random.default_rng(7)
    tiny, least, most = np.float32(2**-126), np.float32(2**-149), np.finfo(np.float32).max
    x = rng.standard_normal((4096, 32)).astype(np.float32)
    x[64:128] *= np.exp2(rng.integers(-140, 127, (64, 1))).astype(np.float32)
    x[128:192] *= np.exp2(rng.integers(-140, 127, (64, 32))).astype(np.float32)
    x[192:256] = rng.choice(np.array([0, -0.0, least, -least, tiny, most, -most], np.float32), (64, 32))
    x[256:320] = rng.choice(np.array([1, -1, 0.5, -0.5, 7, -8], np.float32), (64, 32))
    x[320:384] = rng.integers(0, 2**32, (64, 32), np.uint32).view(np.float32)
    for row, value in enumerate((0.0, -0.0, 1.0, -2.5, least, -least, tiny, most, -most, 0.1)):
        x[row] = value
        x[row + 16, :31], x[row + 16, 31] = 0, value
    return np.where(np.isfinite(x), x, np.float32(3))


@pytest.mark.parametrize("name", CALLS)
def test_c_and_numpy_agree(name: str) -> None:
    x = hostile()
    assert same(x, CALLS[name])
    assert same(x[:0], CALLS[name])
    assert same(np.asfortranarray(x[:5]), CALLS[name])


BITS = st.integers(0, 2**32 - 1).filter(lambda bits: bits >> 23 & 255 != 255)


@settings(max_examples=100)
@given(st.sampled_from(list(CALLS)), st.lists(BITS, min_size=1, max_size=64), st.integers(0, 2**32 - 1))
def test_any_bits_agree(name: str, bits: list[int], seed: int) -> None:
    """Groups of few different values: ties, signs and exponents meet."""
    chosen = np.random.default_rng(seed).choice(np.array(bits, np.uint32), (7, 32))
    assert same(chosen.view(np.float32), CALLS[name])


def test_what_is_no_group_is_refused() -> None:
    with pytest.raises(ValueError, match=r"groups are \[n\]\[32\]"):
        scales.round_to_largest(np.zeros((2, 31), np.float32), 127)
    with pytest.raises(IndexError):
        scales.search_scale(np.zeros((1, 32), np.float32), -8, 7, [1.0] * (scales.MOST_TRIALS + 1))


# ---- compiling ----


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A C file beside a cache of its own."""
    monkeypatch.setenv("HARTSPEAK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "twice.c").write_text(TWICE)
    return tmp_path / "twice.c"


@pytest.fixture
def no_functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """scales.py where nothing can be compiled."""
    loaded = functools.cache(lambda: NotCompiled("there is no compiler"))
    monkeypatch.setattr(scales, "_loaded", loaded)
    return


def calls(functions: ctypes.CDLL) -> float:
    functions.twice.restype, functions.twice.argtypes = ctypes.c_float, [ctypes.c_float]
    return float(functions.twice(2.0))


def test_compiled_once_for_each_source(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert [calls(each) for each in pool.map(lambda _: library(source, FACTOR=2), range(3))] == [4.0] * 3
    assert calls(library(source, FACTOR=3)) == 6.0
    source.write_text(TWICE.replace("* x", "+ x"))
    assert calls(library(source, FACTOR=3)) == 5.0
    assert len(list((source.parent / "cache/compiled").iterdir())) == 3
    monkeypatch.setattr(compiled, "_compile", lambda *_: pytest.fail("compiled again"))
    assert calls(library(source, FACTOR=3)) == 5.0


def test_what_is_in_the_way_is_said(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = source.parent / "cache/compiled"
    with pytest.raises(NotCompiled, match="FACTOR"):
        library(source)
    assert not list(kept.iterdir())
    kept.chmod(0o777)
    with pytest.raises(NotCompiled, match="may be written by others"):
        library(source, FACTOR=2)
    kept.chmod(0o700)
    calls(library(source, FACTOR=2))
    (made,) = kept.iterdir()
    made.chmod(0o666)
    with pytest.raises(NotCompiled, match="may be written by others"):
        library(source, FACTOR=2)
    made.unlink()
    made.write_bytes(b"")
    made.chmod(0o600)
    assert calls(library(source, FACTOR=2)) == 4.0
    monkeypatch.setattr(compiled, "zig_path", lambda: "/nowhere/zig")
    with pytest.raises(NotCompiled, match="nowhere"):
        library(source, FACTOR=4)

    def missing() -> str:
        raise UsageError("the compiler is missing")

    monkeypatch.setattr(compiled, "zig_path", missing)
    with pytest.raises(NotCompiled, match="is missing"):
        library(source, FACTOR=2)


@pytest.mark.usefixtures("no_functions")
def test_numpy_does_it_where_nothing_is_compiled() -> None:
    assert scales.slowed_by() == "there is no compiler"
    x = hostile()[:8]
    for call in CALLS.values():
        for ours, theirs in zip(call(scales, x), call(search, x), strict=True):
            assert ours.tobytes() == theirs.tobytes()
