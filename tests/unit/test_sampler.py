# SPDX-License-Identifier: Apache-2.0
"""The sampler, against the same stages in numpy, written the long way: everything sorted, nothing lazy."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from host.compiler.compile import Options
from host.errors import BY_NUMBER, DeviceFailure
from host.schema.formats.q8 import Q8
from host.schema.image import Overflow
from tests.support import reference
from tests.support.native import Native, Params, params
from tests.support.tiny import tiny_image, tiny_llama

VOCAB = 500
Floats = npt.NDArray[np.float32]


def pointer(array: npt.NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def logits_of(seed: int, spread: float = 3.0) -> Floats:
    return (np.random.default_rng(seed).standard_normal(VOCAB) * spread).astype(np.float32)


def weigh(logits: Floats, best: np.float32, factor: np.float32) -> npt.NDArray[np.float64]:
    """Weights before their fractions are cut off; all steps in float32."""
    with np.errstate(invalid="ignore", over="ignore"):
        d = (logits - best) * factor
    exponents = np.where(d > -30, d, np.float32(-30))
    return reference.exp(exponents).astype(np.float64) * 2.0**40


def whole(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return weights.astype(np.int64)


def penalized(logits: Floats, p: Params, history: list[int]) -> Floats:
    work, penalty = logits.copy(), np.float32(p.repeat_penalty)
    if penalty != 1 and p.repeat_last:
        for token in set(history[-p.repeat_last :]):
            work[token] = work[token] / penalty if work[token] > 0 else work[token] * penalty
    return np.where(np.isnan(work), np.float32(-np.inf), work)


def survivors(work: Floats, p: Params) -> npt.NDArray[np.int64]:
    """Ids from the best down that the stages leave: everything sorted, nothing lazy."""
    order = np.lexsort((np.arange(len(work)), -work))
    best = work[order[0]]
    if p.top_k:
        order = order[: p.top_k]
    weights = weigh(work[order], best, np.float32(1))
    if p.top_p < 1:
        sums = np.cumsum(whole(weights))
        goal = int(p.top_p * 2.0**64) * int(sums[-1]) >> 64
        order = order[: int(np.searchsorted(sums, goal)) + 1]
    keep: npt.NDArray[np.int64] = order[weights[: len(order)] >= p.min_p * 2.0**40]
    return keep


def expected(native: Native, p: Params, logits: Floats, history: list[int], position: int) -> int:
    """docs/numerics.md in numpy."""
    work = penalized(logits, p, history)
    first = int(np.argmax(work))
    if p.temperature == 0 or not np.isfinite(work[first]):
        return first
    with np.errstate(over="ignore"):
        factor = min(np.float32(1) / np.float32(p.temperature), np.float32(2.0**127))
    ids = np.sort(survivors(work, p))
    sums = np.cumsum(whole(weigh(work[ids], work[first], factor)))
    low, high = native.philox([p.seed & 0xFFFFFFFF, p.seed >> 32], [position, 0, 0, 0])[:2]
    goal = (high << 32 | low) * int(sums[-1]) >> 64
    return int(ids[np.searchsorted(sums, goal, side="right")])


SETTINGS = [
    params(1.0),
    params(0.3),
    params(2.5),
    params(1.0, top_k=1),
    params(1.0, top_k=7),
    params(0.8, top_k=10**6),
    params(0.8, top_p=0.5),
    params(1.2, top_p=0.95),
    params(1.0, top_p=1e-6),
    params(1.0, min_p=0.1),
    params(1.5, min_p=1.0),
    params(0.7, top_k=40, top_p=0.9, min_p=0.05),
    params(0.7, 40, 0.9, 0.05, 1.3, 64),
    params(1.0, repeat_penalty=1.5, repeat_last=2),
]


HISTORY = [5, 9, 9, 300, 5, 499]


def fed(native: Native, folder: Path, vocab: int) -> Native:
    """With a model of so many tokens, and HISTORY as far as these go."""
    path = folder / f"tiny{vocab}.hsp"
    tiny_image(path, tiny_llama(vocab_size=vocab, num_hidden_layers=1), Options(weights=Q8, context=64))
    native.load(path)
    native.feed([token % vocab for token in HISTORY])
    return native


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, native: Native) -> Native:
    return fed(native, tmp_path_factory.mktemp("sampler"), VOCAB)


@pytest.mark.parametrize("index", range(len(SETTINGS)))
def test_draws_are_those_of_the_rules(device: Native, index: int) -> None:
    for seed in range(60):
        p = SETTINGS[index]
        p.seed = seed << 33 | seed
        logits = logits_of(seed)
        assert device.sample(p, logits) == expected(device, p, logits, HISTORY, 6), seed


def odd_logits(rng: np.random.Generator, vocab: int) -> Floats:
    """Of one of the kinds that make it hard to find a cut."""
    x = rng.standard_normal(vocab)
    kinds = [
        x * 3,
        x * rng.choice([1e-7, 1e-3, 30, 1e4, 1e30]),
        np.round(x * rng.choice([0.3, 1, 3])),
        np.sort(x) * rng.choice([-1, 1]),
        np.full(vocab, x[0]),
        20 + np.where(rng.random(vocab) < 0.01, x * 1e-6, -9),
        np.where(rng.random(vocab) < 0.5, 0.0, -0.0) + np.where(rng.random(vocab) < 0.1, x, 0),
        np.ldexp(rng.uniform(1, 2, vocab), rng.integers(-140, 100, vocab)) * rng.choice([-1, 1], vocab),
    ]
    x = kinds[rng.integers(len(kinds))]
    if rng.random() < 0.3:
        bad = rng.choice([np.nan, -np.inf], vocab)
        x = np.where(rng.random(vocab) < rng.choice([0.01, 0.5, 0.99]), bad, x)
    if rng.random() < 0.03:
        x[rng.integers(vocab)] = np.inf
    return x.astype(np.float32)


def odd_params(rng: np.random.Generator, vocab: int) -> Params:
    """Any stages with any values, the ends of their ranges among them."""
    return params(
        temperature=float(rng.choice([0, 1e-45, 1e-30, 0.1, 0.8, 1, 1, 3, 100])),
        top_k=int(rng.choice([0, 0, 1, 2, 40, vocab // 3, vocab - 1, vocab, 2**32 - 1])),
        top_p=float(rng.choice([1, 1, 1e-6, 0.1, 0.5, 0.9, 0.99, 1 - 2**-24])),
        min_p=float(rng.choice([0, 0, 0, 1e-45, 1e-14, 0.01, 0.5, 1])),
        repeat_penalty=float(rng.choice([1, 1, 0.01, 1.1, 100])),
        repeat_last=int(rng.choice([0, 1, 3, 2**32 - 1])),
        seed=int(rng.integers(2**63)),
    )


@pytest.mark.parametrize(
    ("vocab", "harts", "draws"), [(500, 1, 700), (5, 1, 200), (4133, 1, 300), (4133, 4, 200), (64, 2, 100)]
)
def test_any_logits_and_parameters(tmp_path: Path, vocab: int, harts: int, draws: int) -> None:
    """On 1, 2 and 4 harts; vocabularies of less than a block, of one, and with a last one that is not full."""
    native = fed(Native(harts), tmp_path, vocab)
    rng = np.random.default_rng(vocab + harts)
    history = [token % vocab for token in HISTORY]
    for i in range(draws):
        p, logits = odd_params(rng, vocab), odd_logits(rng, vocab)
        assert native.sample(p, logits) == expected(native, p, logits, history, 6), i
    assert native.intact()


@pytest.mark.parametrize("n", [9, 63, 64, 1000])
@pytest.mark.parametrize("factor", [0, 0.1, 1, 2.0**127])
def test_passes_over_the_vocabulary(native: Native, n: int, factor: float) -> None:
    """Of any logits, and no fraction counts in a sum."""
    x = (np.random.default_rng(n).normal(size=n) * 9).astype(np.float32)
    x[:2], best = 40, np.float32(40)
    x[5:9] = np.nan, -np.inf, 40 - 27.5, -3e38
    with np.errstate(invalid="ignore", over="ignore"):
        d = (x - best) * np.float32(factor)
    weights = reference.exp(np.where(d > -30, d, np.float32(-30))) * np.float32(2.0**40)
    found, count = np.full(n, np.nan, np.float32), ctypes.c_uint32(7)
    native.lib.scalar_weigh(pointer(x), n, ctypes.c_float(40), ctypes.c_float(factor), pointer(found))
    np.testing.assert_array_equal(found.view(np.uint32), weights.view(np.uint32))
    native.lib.scalar_measure.restype = ctypes.c_uint64
    for cut in (40.0, 0.0, -np.inf):
        above = native.lib.scalar_measure(pointer(x), pointer(found), n, ctypes.c_float(cut), ctypes.byref(count))
        assert above == int(weights[x >= cut].astype(np.int64).sum())
    assert count.value == 7 + sum(int((x >= cut).sum()) for cut in (40.0, 0.0, -np.inf))
    for low, high in ((0.0, 40.0), (-np.inf, 1.0), (0.0, np.inf), (5.0, 5.0)):
        ids = np.full(n, 99, np.uint32)
        some = native.lib.scalar_find(pointer(x), n, ctypes.c_float(low), ctypes.c_float(high), pointer(ids))
        np.testing.assert_array_equal(ids[:some], np.flatnonzero((x >= low) & (x < high)))


def test_greedy_is_argmax_and_ties_go_to_the_lowest_id(device: Native) -> None:
    for seed in range(20):
        logits = logits_of(seed)
        assert device.sample(params(), logits) == int(np.argmax(logits))
    logits[[17, 400]] = 99
    assert device.sample(params(), logits) == 17
    assert device.sample(params(1.0, top_k=1, seed=3), logits) == 17
    zeros = np.zeros(VOCAB, np.float32)
    zeros[0::2] = -0.0
    assert device.sample(params(), zeros) == 0
    assert device.sample(params(1.0, top_k=1), zeros) == 0


def test_min_p_keeps_what_is_exactly_as_probable(device: Native) -> None:
    """At 1 all that tie with the best are left, and nothing that is less by one bit."""
    logits = np.full(VOCAB, -1, np.float32)
    logits[[17, 400]] = 3
    assert {device.sample(params(1.0, min_p=1.0, seed=seed), logits) for seed in range(30)} == {17, 400}
    logits[400] = np.nextafter(np.float32(3), np.float32(0))
    assert {device.sample(params(1.0, min_p=1.0, seed=seed), logits) for seed in range(30)} == {17}


def test_each_repeated_token_counts_once(device: Native) -> None:
    logits = np.full(VOCAB, -10, np.float32)
    logits[[9, 3]] = 8, 3
    assert device.sample(params(repeat_penalty=2, repeat_last=64), logits) == 9
    assert device.sample(params(repeat_penalty=3, repeat_last=64), logits) == 3
    assert device.sample(params(repeat_penalty=3, repeat_last=3), logits) == 9
    assert device.sample(params(repeat_penalty=3, repeat_last=4), logits) == 3
    negative = np.full(VOCAB, -1, np.float32)
    negative[9] = -0.9
    assert device.sample(params(repeat_penalty=1.2, repeat_last=64), negative) == 0


def test_penalty_looks_back_over_a_sliding_history(native: Native, tmp_path: Path) -> None:
    path = tmp_path / "slide.hsp"
    options = Options(weights=Q8, context=40, max_rows=8, overflow=Overflow.SLIDE)
    tiny_image(path, tiny_llama(vocab_size=VOCAB, num_hidden_layers=1), options)
    native.load(path)
    native.feed([7, *range(100, 150)])
    logits = np.full(VOCAB, 1, np.float32)
    logits[[7, 110, 111]] = 2, 4, 3
    assert native.sample(params(repeat_penalty=3, repeat_last=1000), logits) == 7
    native.truncate(0)


def test_odd_logits_are_survived(device: Native) -> None:
    nan, inf = np.float32("nan"), np.float32("inf")
    for fill in (nan, -inf, inf, np.float32(0)):
        for p in SETTINGS:
            assert device.sample(p, np.full(VOCAB, fill)) < VOCAB
    logits = logits_of(1)
    logits[::3] = nan
    logits[1::3] = -inf
    for p in [params(), *SETTINGS]:
        assert device.sample(p, logits) % 3 == 2
    logits[77] = inf
    assert device.sample(params(1.0), logits) == 77
    assert device.sample(params(), np.full(VOCAB, nan)) == 0


def test_the_position_is_part_of_the_draw(device: Native) -> None:
    flat = np.zeros(VOCAB, np.float32)
    drawn = set()
    for _ in range(20):
        drawn.add(device.sample(params(1.0, seed=4), flat))
        assert device.sample(params(1.0, seed=4), flat) in drawn
        device.feed([1])
    device.truncate(6)
    assert len(drawn) > 15


def test_frequencies(device: Native) -> None:
    """Draws over seeds have the probabilities that the stages give (chi-square, 1 in 10^6)."""
    logits = np.full(VOCAB, -50, np.float32)
    logits[:4] = np.log(np.array([4, 3, 2, 1], np.float32))
    counts = np.bincount([device.sample(params(1.0, seed=s), logits) for s in range(4000)], minlength=4)
    expected = np.array([1600, 1200, 800, 400])
    assert counts.sum() == 4000
    assert ((counts - expected) ** 2 / expected).sum() < 31.8


BAD = [
    {"temperature": -0.1},
    {"temperature": float("nan")},
    {"temperature": float("inf")},
    {"top_p": 0.0},
    {"top_p": 1.1},
    {"top_p": float("nan")},
    {"min_p": -0.1},
    {"min_p": 1.01},
    {"min_p": float("nan")},
    {"repeat_penalty": 0.0},
    {"repeat_penalty": -1.0},
    {"repeat_penalty": float("nan")},
]


@pytest.mark.parametrize("bad", BAD)
def test_parameters_out_of_range(device: Native, bad: dict[str, float]) -> None:
    with pytest.raises(DeviceFailure) as failure:
        device.sample(params(**bad), logits_of(0))  # type: ignore[arg-type]
    assert BY_NUMBER[failure.value.number].name == "PARAMETER"


def test_philox_known_answers(native: Native) -> None:
    """Random123's published vectors (kat_vectors, philox4x32 10)."""
    ones = 0xFFFFFFFF
    assert native.philox([0, 0], [0] * 4) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert native.philox([ones] * 2, [ones] * 4) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    counter = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    expected = [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    assert native.philox([0xA4093822, 0x299F31D0], counter) == expected
