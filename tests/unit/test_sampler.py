# SPDX-License-Identifier: Apache-2.0
"""The sampler, against the same stages in numpy, written the long way: everything sorted, nothing lazy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from host.compiler.compile import Options
from host.errors import BY_NUMBER, DeviceFailure
from host.schema.formats.q8 import Q8
from host.schema.image import Overflow
from tests.support.native import Native, Params, params
from tests.support.tiny import tiny_image, tiny_llama

VOCAB = 500
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, native: Native) -> Native:
    path = tmp_path_factory.mktemp("sampler") / "tiny.hsp"
    source = tiny_llama(vocab_size=VOCAB, num_hidden_layers=1)
    tiny_image(path, source, Options(weights=Q8, context=64))
    native.load(path)
    native.feed([5, 9, 9, 300, 5, 499])
    return native


def logits_of(seed: int, spread: float = 3.0) -> Floats:
    return (np.random.default_rng(seed).standard_normal(VOCAB) * spread).astype(np.float32)


def uniform(native: Native, seed: int, position: int) -> float:
    return (native.philox([seed & 0xFFFFFFFF, seed >> 32], [position, 0, 0, 0])[0] >> 8) / (1 << 24)


def survivors(logits: Floats, p: Params, history: list[int]) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Ids from the best down and their probabilities, after all stages."""
    work = logits.astype(np.float64)
    if p.repeat_penalty != 1 and p.repeat_last:
        for token in set(history[-p.repeat_last :]):
            work[token] = work[token] / p.repeat_penalty if work[token] > 0 else work[token] * p.repeat_penalty
    order = sorted(range(VOCAB), key=lambda i: (-work[i], i))
    if p.top_k:
        order = order[: p.top_k]
    weights = np.exp(work[order] - work[order[0]])
    if p.top_p < 1:
        shares = np.cumsum(weights) / weights.sum()
        order = order[: int(np.searchsorted(shares, p.top_p)) + 1]
    weights = weights[: len(order)]
    order = [token for token, weight in zip(order, weights, strict=True) if weight >= p.min_p]
    weights = np.exp((work[order] - work[order[0]]) / p.temperature)
    return order, weights / weights.sum()


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


@pytest.mark.parametrize("index", range(len(SETTINGS)))
def test_draws_are_those_of_the_model(device: Native, index: int) -> None:
    """At every draw but those that fall within rounding of a boundary, of which there may be few."""
    close = 0
    for seed in range(60):
        p = SETTINGS[index]
        p.seed = seed << 33 | seed
        logits = logits_of(seed)
        order, shares = survivors(logits, p, [5, 9, 9, 300, 5, 499])
        draw = uniform(device, p.seed, device.length())
        edges = np.cumsum(shares)
        if np.abs(edges[:-1] - draw).min(initial=1) < 1e-4:
            close += 1
            continue
        assert device.sample(p, logits) == order[int(np.searchsorted(edges, draw, side="right"))], seed
    assert close < 12


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
