# SPDX-License-Identifier: Apache-2.0
"""Quantizers, block pass-through and weight layouts."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from hypothesis import given, settings
from hypothesis import strategies as st

from host.errors import SourceError
from host.files.source import Blocks
from host.files.tensor import StoredTensor
from host.ir.value import Weight
from host.quant.encode import encode_weight, weight_rows
from host.schema.bf16 import from_bf16, round_bf16, to_bf16
from host.schema.formats import format_for_blocks, format_names, format_of, formats
from host.schema.formats.bf16 import BF16
from host.schema.formats.f32 import F32
from host.schema.formats.q4 import Q4
from host.schema.formats.q4m import Q4M
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Layout
from host.schema.weights import GroupFormat, Quantized, WeightFormat
from tests.support.tiny import MemoryTensor

STORED = [(one, layout) for one in formats().values() for layout in one.layouts]
GROUPS = [one for one in formats().values() if isinstance(one, GroupFormat)]
TWINS = [one for one in GROUPS if one.twin is not None]


def random_rows(rows: int, cols: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((rows, cols)) * 0.05).astype(np.float32)


def encoded(weight: Weight, fmt: WeightFormat, layout: Layout) -> np.ndarray:
    return np.concatenate(list(encode_weight(weight, fmt, layout)))


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x, dtype=np.float64).mean()))


def test_the_list_is_the_folder() -> None:
    """Ids and names are each format's own, and no id is one of what activations and caches are stored as."""
    assert sorted(formats()) == format_names()
    for one in formats().values():
        assert format_of(one.id) is one
        assert one is F32 or one.id not in set(Format)


def test_bf16_rounds_to_nearest_even() -> None:
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF], np.uint32)
    assert to_bf16(bits.view(np.float32)).tolist() == [0x3F80, 0x3F82, 0x3F81, 0x3F80]


@pytest.mark.parametrize(("fmt", "layout"), [(fmt, layout) for fmt in (Q8, Q4, Q4M) for layout in fmt.layouts])
def test_bits_lie_where_the_document_says(fmt: GroupFormat, layout: Layout) -> None:
    rows, cols = 70, 72  # a second tile with 6 rows, a third group with 8 columns
    quantized = fmt.quantize(random_rows(rows, cols))
    data = quantized.pack(layout).tobytes()
    record = fmt.record_bytes(layout)
    assert len(data) == 2 * 3 * record == fmt.tensor_bytes(layout, rows, cols)
    values = 64 * 32 if fmt is Q8 else 64 * 16
    for row, group, k in [
        (0, 0, 0),
        (1, 0, 1),
        (63, 1, 31),
        (64, 2, 7),
        (5, 1, 18),
        (69, 0, 13),
        (70, 0, 3),
        (3, 2, 9),
    ]:
        at = (row // 64 * 3 + group) * record
        r, real = row % 64, row < rows and group * 32 + k < cols
        if fmt is Q8:
            q = data[at + (k * 64 + r if layout == Layout.RVV else r * 32 + k)]
            q = (q ^ 128) - 128 if layout == Layout.RVV else q - 128
        elif layout == Layout.RVV:
            q = (data[at + k // 2 * 64 + r] >> 4 * (k % 2) & 15) - 8
        else:
            word = int.from_bytes(data[at + 16 * r + 8 * (k // 16) :][:8], "little")
            q = (word >> 16 * (k % 4) + 4 * (k % 16 // 4) & 15) - 8
        assert q == (quantized.q[row, group * 32 + k] if real else 0)
        scale = int.from_bytes(data[at + values + 2 * r :][:2], "little")
        assert scale == (quantized.scales[row, group] if row < rows else 0)
        if layout == Layout.LEAN:
            assert record == values + 128
        tail = int.from_bytes(data[at + values + 128 + 2 * r :][:2], "little", signed=fmt is Q8)
        if quantized.minima is not None:
            assert tail == (quantized.minima[row, group] if row < rows else 0)
        elif fmt is Q8 and layout == Layout.SWAR:
            assert tail == (quantized.q[row, group * 32 : group * 32 + 32].sum() if row < rows else 0)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STORED), st.integers(1, 130), st.integers(1, 100))
def test_layouts_round_trip(stored: tuple[WeightFormat, Layout], rows: int, cols: int) -> None:
    fmt, layout = stored
    before = fmt.quantize(random_rows(rows, cols, rows * cols))
    data = before.pack(layout)
    assert data.size == fmt.tensor_bytes(layout, rows, cols)
    after = fmt.unpack(data, layout, rows, cols)
    assert (after.float32(cols) == before.float32(cols)).all()
    if isinstance(before, Quantized) and isinstance(after, Quantized):
        assert (after.q == before.q).all()
        assert (after.scales == before.scales).all()
        assert before.minima is None or (after.minima == before.minima).all()


@pytest.mark.parametrize("fmt", formats().values(), ids=str)
def test_the_error_is_as_declared(fmt: WeightFormat) -> None:
    """The declared bound holds, and is not much more than needed."""
    x = random_rows(64, 512)
    error = rms(fmt.quantize(x).float32(512) - x) / rms(x)
    assert 0.7 * fmt.error <= error <= fmt.error


@pytest.mark.parametrize("fmt", [F32, BF16], ids=str)
def test_floats_lie_in_columns(fmt: WeightFormat) -> None:
    x = round_bf16(random_rows(67, 33))
    tiled = fmt.quantize(x).pack(Layout.RVV)
    one = tiled.view("<f4") if fmt is F32 else from_bf16(tiled.view("<u2"))
    assert one[7 * 64 + 5] == x[5, 7]


def test_q8_error_is_half_a_step_and_minus_128_never_occurs() -> None:
    x = random_rows(64, 256)
    q = Q8.quantize(x)
    step = np.repeat(from_bf16(q.scales), 32, axis=1)
    assert np.abs(q.q).max() == 127
    # The largest value of a group may be clipped where its scale was rounded down: 2^-9 of 127 steps at most.
    assert (np.abs(q.float32(256) - x) <= 0.76 * step).all()


def test_four_bits_beat_the_plain_scale() -> None:
    x = random_rows(64, 512)
    groups = x.reshape(-1, 32)
    scale = round_bf16(np.abs(groups).max(axis=1, keepdims=True) / np.float32(7))
    plain = np.square(np.clip(np.rint(groups / scale), -8, 7) * scale - groups).mean()
    q4 = np.square(Q4.quantize(x).float32(512) - x).mean()
    q4m = np.square(Q4M.quantize(x).float32(512) - x).mean()
    assert q4 < 0.8 * plain
    assert q4m < 0.85 * q4


def test_four_bit_minimum_takes_an_offset() -> None:
    x = 3 + random_rows(8, 64)
    assert np.abs(Q4M.quantize(x).float32(64) - x).max() < 0.03
    ragged = x[:, :40]
    assert np.abs(Q4M.quantize(ragged).float32(40) - ragged).max() < 0.03


@pytest.mark.parametrize("fmt", GROUPS, ids=str)
@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, 1e-42, 1e-30, 1e30])
def test_equal_and_extreme_groups(fmt: GroupFormat, value: float) -> None:
    x = np.full((2, 32), value, np.float32)
    back = fmt.quantize(x).float32(32)
    assert np.abs(back - x).max() <= max(abs(value) * 0.004, 2.0**-126)


@pytest.mark.parametrize("fmt", TWINS, ids=str)
def test_gguf_blocks_pass_through(fmt: GroupFormat) -> None:
    assert fmt.twin is not None
    kind = Kind[fmt.twin.kind]
    assert format_for_blocks(kind.name) is fmt
    data = gguf.quants.quantize(random_rows(6, 96), kind)
    passed = fmt.from_blocks(data)
    assert passed is not None
    exact = gguf.quants.dequantize(data, kind)
    assert np.abs(passed.float32(96) - exact).max() <= np.abs(exact).max() * 2**-8
    # Quantized anew, it would be other values: these are the blocks' own, to within the rounding of their scales.
    assert rms(passed.float32(96) - exact) <= 2**-8 * rms(exact)


@pytest.mark.parametrize(("fmt", "kind"), [(Q4, Kind.Q4_0), (Q4M, Kind.Q4_1), (Q8, Kind.Q8_0)], ids=str)
def test_blocks_lie_as_ggml_says(fmt: GroupFormat, kind: Kind) -> None:
    data = gguf.quants.quantize(random_rows(6, 96), kind)
    passed = fmt.from_blocks(data)
    assert passed is not None
    head = 4 if kind == Kind.Q4_1 else 2
    body = data.reshape(6, 3, -1)[:, :, head:]
    low = body.view(np.int8) if fmt is Q8 else (body & 15).astype(np.int8) - 8
    width = low.shape[2]
    assert (passed.q.reshape(6, 3, 32)[:, :, :width] == low).all()


def test_blocks_that_cannot_pass() -> None:
    data = gguf.quants.quantize(random_rows(1, 32), Kind.Q8_0)
    data[0, 5] = 0x80
    assert Q8.from_blocks(data) is None
    assert format_for_blocks("Q6_K") is None


def stored(name: str, rows: int, kind: Kind) -> MemoryTensor:
    data = gguf.quants.quantize(random_rows(rows, 64, rows), kind)
    return MemoryTensor(name, gguf.quants.dequantize(data, kind), Blocks(kind.name, data))


def test_blocks_survive_concatenation_and_interleaving() -> None:
    gate, up = stored("gate", 16, Kind.Q4_0), stored("up", 24, Kind.Q4_0)
    order = np.random.default_rng(3).permutation(40)
    weight = Weight.concat("w", [Weight("gate", (gate,)), Weight("up", (up,))]).take("w", order)
    rows = weight_rows(weight, Q4)
    assert isinstance(rows, Quantized)
    apart = [Q4.from_blocks(t.stored.data) for t in (gate, up) if t.stored is not None]
    assert (rows.q == np.concatenate([p.q for p in apart if p is not None])[order]).all()
    assert (weight.float32() == np.concatenate([gate.values, up.values])[order]).all()
    data = encoded(weight, Q4, Layout.SWAR)
    assert (Q4.unpack(data, Layout.SWAR, 40, 64).q == rows.q).all()


def test_other_blocks_are_quantized_anew() -> None:
    tensor = stored("w", 8, Kind.Q4_1)
    rows = weight_rows(Weight("w", (tensor,)), Q8)
    assert np.abs(rows.float32(64) - tensor.values).max() < 0.01 * np.abs(tensor.values).max()


def test_large_weights_are_packed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = Weight("w", (MemoryTensor("w", random_rows(300, 64)),))
    for fmt in (F32, Q4):
        whole = encoded(weight, fmt, Layout.RVV)
        monkeypatch.setattr("host.quant.encode.BATCH_VALUES", 64 * 64)
        pieces = list(encode_weight(weight, fmt, Layout.RVV))
        assert len(pieces) == 5
        assert (np.concatenate(pieces) == whole).all()
        monkeypatch.undo()


@pytest.mark.parametrize("fmt", formats().values(), ids=str)
@pytest.mark.parametrize("count", [1, 5])
def test_pieces_are_the_whole_on_any_number_of_processors(
    fmt: WeightFormat, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of two tensors in turn, blocks of one of them, a folded norm or none."""
    gate, up = stored("gate", 160, Kind.Q4_0), MemoryTensor("up", random_rows(160, 64, 9))
    order = np.arange(320).reshape(2, 20, 8).transpose(1, 0, 2).reshape(-1)
    plain = Weight.concat("w", [Weight("gate", (gate,)), Weight("up", (up,))]).take("w", order)
    for weight in (plain, plain.scaled(1 + random_rows(1, 64)[0])):
        whole = weight_rows(weight, fmt).pack(fmt.layouts[0])
        with monkeypatch.context() as patched:
            patched.setattr("host.quant.encode.processors", lambda: count)
            patched.setattr("host.quant.encode.BATCH_VALUES", 64 * 64)
            pieces = list(encode_weight(weight, fmt, fmt.layouts[0]))
        assert len(pieces) == 5
        assert (np.concatenate(pieces) == whole).all()


def test_blocks_of_a_tensor_pass_all_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """One -128 in its last rows, and the first ones are quantized anew as well."""
    monkeypatch.setattr("host.quant.encode.BATCH_VALUES", 64 * 64)
    data = gguf.quants.quantize(random_rows(192, 64), Kind.Q8_0).reshape(192, 2, 34)
    data[:, :, 2:] = (data[:, :, 2:].view(np.int8) // 2).view(np.uint8)  # a quantizer would use more of the range
    data = data.reshape(192, 68)
    values = gguf.quants.dequantize(data, Kind.Q8_0)
    tensor = MemoryTensor("w", values, Blocks("Q8_0", data))
    passed, anew = Q8.from_blocks(data), Q8.quantize(values).pack(Layout.RVV)
    assert passed is not None
    assert not (passed.pack(Layout.RVV) == anew).all()
    assert (encoded(Weight("w", (tensor,)), Q8, Layout.RVV) == passed.pack(Layout.RVV)).all()
    data[191, 5] = 0x80
    assert (encoded(Weight("w", (tensor,)), Q8, Layout.RVV) == anew).all()


def test_rows_of_a_stored_tensor() -> None:
    """A range or numbers of rows: of a matrix as it is, turned, in another order, in blocks."""
    values = random_rows(48, 64)
    order = np.random.default_rng(1).permutation(48)
    raw = values.view(np.uint8).reshape(-1)
    blocks = gguf.quants.quantize(values, Kind.Q4_0)
    for tensor in (
        StoredTensor("w", "F32", (48, 64), raw),
        StoredTensor("w", "F32", (48, 64), raw, transposed=True),
        StoredTensor("w", "F32", (48, 64), raw, order=order),
        StoredTensor("w", "Q4_0", (48, 64), blocks.reshape(-1), order=order),
    ):
        whole, whole_blocks = tensor.float32(), tensor.blocks()
        for which in (slice(5, 21), slice(40, 100), np.array([7, 3, 3, 30])):
            some = tensor.rows(which)
            assert some.shape == whole[which].shape
            assert (some.float32() == whole[which]).all()
            some_blocks = some.blocks()
            if some_blocks is None or whole_blocks is None:
                assert tensor.kind == "F32"
            else:
                assert (some_blocks.data == whole_blocks.data[which]).all()


def test_numbers_that_are_none_are_refused_wherever_they_are() -> None:
    values = random_rows(8192, 64)
    values[8191, 63] = np.nan
    tensor = StoredTensor("w", "F32", values.shape, values.view(np.uint8).reshape(-1))
    with pytest.raises(SourceError, match="tensor w holds 1 or more values that are NaN"):
        encoded(Weight("w", (tensor,)), Q4, Layout.RVV)
    large = Weight("w", (MemoryTensor("w", np.full((64, 32), 1e38, np.float32)),))
    with pytest.raises(SourceError, match=r"leaves the range of f32.*--without fold_norms"):
        encoded(large.scaled(np.full(32, 9, np.float32)), Q8, Layout.RVV)


def test_bf16_overflow_is_refused() -> None:
    weight = Weight("w", (MemoryTensor("w", np.full((1, 4), 3.4e38, np.float32)),))
    with pytest.raises(SourceError, match="beyond what bf16"):
        encoded(weight, BF16, Layout.RVV)
