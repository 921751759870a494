# SPDX-License-Identifier: Apache-2.0
"""The step: rows refused, sessions, cancelling, chunks, harts, rings, rolling back. All comparisons are equalities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from host.compiler.compile import Options
from host.errors import BY_NUMBER, DeviceFailure
from host.ops import OpId
from host.schema.formats import formats
from host.schema.formats.f32 import F32
from host.schema.formats.q4m import Q4M
from host.schema.image import Format, Layout, Overflow, SectionId, State
from host.schema.weights import WeightFormat
from tests.support.images import ImageEditor
from tests.support.native import Native, params
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama

CONTEXT = 300
VOCAB = 131
E_ROLLBACK = -38


def tokens(count: int, seed: int = 0) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).integers(0, VOCAB, count)]


def make(folder: Path, name: str, source: object, **options: object) -> Path:
    path = folder / f"{name}.hsp"
    tiny_image(path, source, Options(**options))  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("step")
    return make(folder, "llama", tiny_llama(), weights=Q4M, context=CONTEXT, sessions=3)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("step")
    return make(folder, "gpt2", tiny_gpt2(), weights=F32, kv=Format.F32, context=200, sessions=2)


@pytest.fixture(scope="module")
def sliding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context of 100 positions that slides behind 4 pinned ones; steps of 16 rows."""
    folder = tmp_path_factory.mktemp("step")
    slide = {"overflow": Overflow.SLIDE, "sinks": 4, "max_rows": 16}
    return make(folder, "slide", tiny_llama(), weights=F32, kv=Format.F32, context=100, sessions=2, **slide)


def refused(native: Native, rows: list[tuple[int, int, int, int]]) -> str:
    with pytest.raises(DeviceFailure) as failure:
        native.step(rows)
    return BY_NUMBER[failure.value.number].name


def held(native: Native) -> list[int]:
    return [native.length(s) for s in range(native.info.sessions)]


def test_rows_that_are_refused_change_nothing(native: Native, llama: Path) -> None:
    native.load(llama)
    native.feed(tokens(10))
    expected = native.feed(tokens(1, 9))
    native.truncate(10)
    good = (0, 10, 1, 1)
    assert refused(native, []) == "ROWS"
    assert refused(native, [(0, 10 + i, 1, 0) for i in range(65)]) == "ROWS"
    assert refused(native, [(0, 10 + i, 1, 1) for i in range(9)]) == "ROWS"
    assert refused(native, [good, (3, 0, 1, 0)]) == "SESSION"
    assert refused(native, [good, (2**32 - 1, 0, 1, 0)]) == "SESSION"
    assert refused(native, [good, (0, 10, 1, 0)]) == "POSITION"
    assert refused(native, [good, (0, 12, 1, 0)]) == "POSITION"
    assert refused(native, [good, (1, 1, 1, 0)]) == "POSITION"
    assert refused(native, [good, (1, 0, VOCAB, 0)]) == "TOKEN"
    assert refused(native, [good, (1, 0, 2**32 - 1, 0)]) == "TOKEN"
    assert held(native) == [10, 0, 0]
    assert not native.lib.engine_logits(native.engine, 0)
    assert (native.feed(tokens(1, 9)) == expected).all()


def test_nothing_runs_before_an_image_is_loaded() -> None:
    fresh = Native(1)
    assert refused(fresh, [(0, 0, 0, 1)]) == "NOT_READY"
    assert not fresh.loaded
    assert fresh.length(0) == 0


def test_a_full_context_stops(native: Native, llama: Path) -> None:
    native.load(llama)
    text = tokens(CONTEXT)
    native.feed(text[:-1])
    assert refused(native, [(0, CONTEXT - 1, 1, 0), (0, CONTEXT, 1, 0)]) == "CONTEXT_FULL"
    native.feed(text[-1:])
    assert refused(native, [(0, CONTEXT, 1, 1)]) == "CONTEXT_FULL"
    assert [native.token(i) for i in range(CONTEXT)] == text
    assert native.token(CONTEXT) == 2**32 - 1


@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_however_the_prompt_is_cut(native: Native, request: pytest.FixtureRequest, model: str) -> None:
    native.load(request.getfixturevalue(model))
    text = tokens(150)
    whole = native.feed(text, chunk=64)
    for chunk in (1, 7, 63):
        native.truncate(0)
        assert (native.feed(text, chunk=chunk) == whole).all()


def test_every_row_has_the_logits_it_has_alone(native: Native, llama: Path) -> None:
    native.load(llama)
    text = tokens(40)
    alone = native.feed(text, chunk=1, every=True)
    native.truncate(0)
    together = native.feed(text, chunk=8, every=True)
    assert alone.shape == together.shape == (40, VOCAB)
    assert (alone == together).all()
    assert not (alone[0] == alone[1]).all()


@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_harts_make_no_difference(native: Native, native4: Native, request: pytest.FixtureRequest, model: str) -> None:
    text = tokens(180)
    results = []
    for device in (native, native4):
        device.load(request.getfixturevalue(model))
        prompt = device.feed(text[:100])
        results.append(np.concatenate([prompt, device.feed(text[100:], chunk=1, every=True)]))
    assert (results[0] == results[1]).all()


def test_sessions_in_one_step_are_as_if_alone(native: Native, llama: Path) -> None:
    native.load(llama)
    texts = [tokens(90, seed) for seed in range(3)]
    alone: list[npt.NDArray[np.float32]] = []
    for text in texts:
        alone.append(native.feed(text, every=True))
        native.truncate(0)
    together: list[list[npt.NDArray[np.float32]]] = [[], [], []]
    starts = [0, 0, 0]
    for lengths in ([5, 1, 2], [1, 1, 1], [2, 3, 1], [0, 4, 4]) * 8:
        rows = [(s, starts[s] + i, texts[s][starts[s] + i], 1) for s in range(3) for i in range(lengths[s])]
        for row, found in zip(rows, native.step(rows), strict=True):
            together[row[0]].append(found)
        starts = [start + length for start, length in zip(starts, lengths, strict=True)]
    for s in range(3):
        assert native.length(s) == starts[s] == len(together[s])
        assert (np.stack(together[s]) == alone[s][: starts[s]]).all()


def test_a_cancelled_step_leaves_no_trace(native: Native, native4: Native, llama: Path) -> None:
    text = tokens(130)
    for device in (native, native4):
        device.load(llama)
        expected = device.feed(text)
        device.truncate(0)
        device.feed(text[:60])
        ops = len(device.stats())
        for after in (1, 2, ops // 2, ops):
            calls = 0

            def poll(after: int = after) -> int:
                nonlocal calls
                calls += 1
                return int(calls >= after)

            device.set_poll(poll)
            rows = [(0, 60 + i, 5, i == 30) for i in range(32)] + [(1, i, 7, 0) for i in range(32)]
            assert refused(device, rows) == "CANCELLED"
            assert calls == after
            assert held(device) == [60, 0, 0]
        device.set_poll(None)
        assert (device.feed(text[60:]) == expected).all()
        for session in (1, 2):
            assert (device.feed(text, session) == expected).all()


def test_pages_never_run_out(native: Native, llama: Path) -> None:
    """All sessions full, emptied and full again in another order: the pool is exactly as large as that needs."""
    native.load(llama)
    text = tokens(CONTEXT)
    expected = native.feed(text)
    for order in ([1, 2], [2, 0, 1], [1, 0, 2]):
        for session in order:
            native.truncate(0, session)
        for session in order:
            assert (native.feed(text, session) == expected).all()
    assert held(native) == [CONTEXT] * 3


def test_rolling_back(native: Native, llama: Path) -> None:
    native.load(llama)
    text, other = tokens(200), tokens(200, 5)
    expected = native.feed(text)
    for length in (199, 128, 127, 64, 1, 0):
        native.truncate(length)
        native.feed(other[:90])
        native.truncate(length)
        assert (native.feed(text[length:]) == expected).all()
    assert [native.token(i) for i in range(200)] == text
    with pytest.raises(DeviceFailure, match="POSITION"):
        native.truncate(201)
    with pytest.raises(DeviceFailure, match="SESSION"):
        native.truncate(0, session=3)


def test_sliding_goes_on_beyond_the_context(native: Native, native4: Native, sliding: Path) -> None:
    text = tokens(700)
    native.load(sliding)
    whole = native.feed(text, every=True)
    assert native.length() == 700
    assert np.isfinite(whole).all()
    native4.load(sliding)
    assert (native4.feed(text, chunk=5, every=True) == whole).all()
    assert [native.token(i) for i in range(600, 700)] == text[600:]
    assert native.token(599) == 2**32 - 1


def test_sliding_forgets_what_is_outside_the_window_but_not_the_sinks(native: Native, tmp_path: Path) -> None:
    """One layer, so that nothing reaches a row by way of other rows: it sees the sinks and its window, no more."""
    slide = {"overflow": Overflow.SLIDE, "sinks": 4, "max_rows": 16}
    source = tiny_llama(num_hidden_layers=1)
    path = make(tmp_path, "one", source, weights=F32, kv=Format.F32, context=100, **slide)
    native.load(path)
    editor = ImageEditor(path.read_bytes())
    first = 400 - State.parse(bytes(editor.data[editor.sections[SectionId.STATES][0] :])).window
    text = tokens(400)

    def last(changed: int | None) -> npt.NDArray[np.float32]:
        words = [(t + 1) % VOCAB if i == changed else t for i, t in enumerate(text)]
        native.truncate(0)
        return native.feed(words)

    expected = last(None)
    for position, seen in (
        (0, True),
        (3, True),
        (4, False),
        (200, False),
        (first - 1, False),
        (first, True),
        (399, True),
    ):
        assert (last(position) != expected).any() == seen, position


def test_rolling_back_a_ring_only_as_far_as_it_is_whole(native: Native, sliding: Path) -> None:
    native.load(sliding)
    text = tokens(600)
    native.feed(text[:500])
    expected = native.feed(text[500:])
    good = 0
    for back in (1, 16, 40, 60, 80, 200, 590):
        native.truncate(0)
        native.feed(text)
        if native.lib.engine_truncate(native.engine, 0, 600 - back) == E_ROLLBACK:
            assert native.length() == 600
            assert back > 16
        else:
            good += 1
            assert native.length() == 600 - back
            assert (native.feed(text[600 - back :]) == expected).all()
    assert 2 <= good < 7


def test_a_ring_that_has_not_come_round_is_whole(native: Native, sliding: Path) -> None:
    """The sinks' page is no part of the ring: 64 positions in it, then 192 in the ring's three pages."""
    native.load(sliding)
    text = tokens(257)
    expected = native.feed(text[:256])
    native.truncate(3)
    assert (native.feed(text[3:256]) == expected).all()
    native.feed(text[256:])
    with pytest.raises(DeviceFailure, match="ROLLBACK"):
        native.truncate(3)


def test_a_cancelled_step_does_not_spoil_a_ring(native: Native, sliding: Path) -> None:
    native.load(sliding)
    text = tokens(400)
    expected = native.feed(text)
    native.truncate(0)
    native.feed(text[:390])
    native.set_poll(lambda: 1)
    ops = [stat.id for stat in native.stats()]
    left = iter([0] * (len(ops) - 1) + [1])
    native.set_poll(lambda: next(left))
    assert refused(native, [(0, 390 + i, 3, i == 0) for i in range(16)]) == "CANCELLED"
    native.set_poll(None)
    assert (native.feed(text[390:]) == expected).all()


def test_statistics_count_only_while_they_are_on(native: Native, llama: Path) -> None:
    native.load(llama)
    native.feed(tokens(3))
    assert all(stat.calls == 0 for stat in native.stats())
    native.lib.engine_stats_enable(native.engine, 1)
    native.step([(0, 3, 1, 0)])
    native.step([(0, 4, 1, 1)])
    stats = native.stats()
    assert [stat.calls for stat in stats if stat.id == OpId.EMBED] == [2]
    assert stats[-1].calls == 1
    assert all(stat.instret > 0 and stat.cycles > 0 for stat in stats)
    assert all((stat.weight != 2**32 - 1) == (stat.id == OpId.LINEAR) for stat in stats)
    native.lib.engine_stats_enable(native.engine, 0)
    native.lib.engine_stats_reset(native.engine)
    native.step([(0, 5, 1, 1)])
    assert all(stat.calls == stat.instret == stat.cycles == 0 for stat in native.stats())


def test_memory_that_is_not_zero_is_no_model() -> None:
    """An engine's memory is its caller's; before a load nothing believes what lies there."""
    fresh = Native()
    fresh.lib.engine_stats_reset(fresh.engine)
    fresh.lib.engine_stats_enable(fresh.engine, 1)
    assert fresh.stats() == []
    assert fresh.length() == 0
    assert not fresh.loaded
    assert refused(fresh, [(0, 0, 1, 1)]) == "NOT_READY"


def test_what_an_earlier_image_left_makes_no_difference(native: Native, llama: Path, gpt2: Path) -> None:
    native.load(llama, 4 << 20)
    expected = native.feed(tokens(50))
    native.load(gpt2, 4 << 20)
    native.feed(tokens(50))
    native.load(llama, 4 << 20)
    assert held(native) == [0, 0, 0]
    assert (native.feed(tokens(50)) == expected).all()


def test_logits_that_no_op_writes_are_refused(native: Native, llama: Path) -> None:
    """They lie in a part of the arena which the program does not know."""
    info = native.load(llama)
    unused = info.arena_bytes
    room = 4 * unused
    editor = ImageEditor(llama.read_bytes()).plan(arena_bytes=unused + room, output_offset=unused // 64)
    with pytest.raises(DeviceFailure) as failure:
        native.load(editor.sealed())
    assert BY_NUMBER[failure.value.number].name == "IMAGE_PLAN"


@pytest.mark.parametrize(
    ("weights", "layout"), [(fmt, layout) for fmt in formats().values() for layout in fmt.layouts if layout]
)
def test_weights_of_any_bytes_are_survived(
    native: Native, tmp_path: Path, weights: WeightFormat, layout: Layout
) -> None:
    """Infinities, not-a-numbers, -128 in 8 bits, wrong sums: results are whatever they are, and memory is safe."""
    path = make(tmp_path, "any", tiny_llama(), weights=weights, layout=layout, context=100)
    editor = ImageEditor(path.read_bytes())
    start, size = editor.sections[SectionId.WEIGHTS]
    editor.data[start : start + size] = np.random.default_rng(7).bytes(size)
    native.load(editor.sealed())
    logits = native.feed(tokens(70))
    assert native.length() == 70
    assert native.sample(params(0.8, top_k=50, top_p=0.9, repeat_penalty=1.1, repeat_last=64), logits[0]) < VOCAB
    assert native.intact()
