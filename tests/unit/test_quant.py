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
from host.ir.value import Weight
from host.quant.bf16 import from_bf16, round_bf16, to_bf16
from host.quant.encode import encode_weight, quantized_rows
from host.quant.layout import (
    pack_float,
    pack_plain,
    pack_quantized,
    unpack_float,
    unpack_plain,
    unpack_quantized,
)
from host.quant.quantize import from_blocks, quantize
from host.schema.image import Format, Layout, tensor_bytes
from tests.support.tiny import MemoryTensor

QUANTIZED = [Format.Q8, Format.Q4, Format.Q4M]
LAYOUTS = [Layout.RVV, Layout.SWAR]


def random_rows(rows: int, cols: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((rows, cols)) * 0.05).astype(np.float32)


def encoded(weight: Weight, fmt: Format, layout: Layout) -> np.ndarray:
    return np.concatenate(list(encode_weight(weight, fmt, layout)))


def test_bf16_rounds_to_nearest_even() -> None:
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF], np.uint32)
    assert to_bf16(bits.view(np.float32)).tolist() == [0x3F80, 0x3F82, 0x3F81, 0x3F80]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fmt", QUANTIZED)
def test_bits_lie_where_the_document_says(fmt: Format, layout: Layout) -> None:
    rows, cols = 70, 72  # a second tile with 6 rows, a third group with 8 columns
    x = random_rows(rows, cols)
    quantized = quantize(x, fmt)
    data = pack_quantized(quantized, layout).tobytes()
    record = tensor_bytes(fmt, layout, 64, 32)
    assert len(data) == 2 * 3 * record == tensor_bytes(fmt, layout, rows, cols)
    values = 64 * 32 if fmt == Format.Q8 else 64 * 16
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
        if fmt == Format.Q8:
            q = data[at + (k * 64 + r if layout == Layout.RVV else r * 32 + k)]
            q = q - 128 if layout == Layout.SWAR else (q ^ 128) - 128
        elif layout == Layout.RVV:
            q = (data[at + k // 2 * 64 + r] >> 4 * (k % 2) & 15) - 8
        else:
            word = int.from_bytes(data[at + 16 * r + 8 * (k // 16) :][:8], "little")
            q = (word >> 16 * (k % 4) + 4 * (k % 16 // 4) & 15) - 8
        assert q == (quantized.q[row, group * 32 + k] if real else 0)
        scale = int.from_bytes(data[at + values + 2 * r :][:2], "little")
        assert scale == (quantized.scales[row, group] if row < rows else 0)
        tail = int.from_bytes(data[at + values + 128 + 2 * r :][:2], "little", signed=fmt == Format.Q8)
        if fmt == Format.Q4M:
            assert tail == (quantized.minima[row, group] if row < rows else 0)
        elif fmt == Format.Q8 and layout == Layout.SWAR:
            assert tail == (quantized.q[row, group * 32 : group * 32 + 32].sum() if row < rows else 0)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(QUANTIZED), st.sampled_from(LAYOUTS), st.integers(1, 130), st.integers(1, 100))
def test_quantized_layouts_round_trip(fmt: Format, layout: Layout, rows: int, cols: int) -> None:
    before = quantize(random_rows(rows, cols, rows * cols), fmt)
    data = pack_quantized(before, layout)
    assert data.size == tensor_bytes(fmt, layout, rows, cols)
    after = unpack_quantized(data, fmt, layout, rows, cols)
    assert (after.q == before.q).all()
    assert (after.scales == before.scales).all()
    assert fmt != Format.Q4M or (after.minima == before.minima).all()


@pytest.mark.parametrize("fmt", [Format.F32, Format.BF16])
def test_float_layouts_round_trip(fmt: Format) -> None:
    x = round_bf16(random_rows(67, 33))
    tiled, plain = pack_float(x, fmt), pack_plain(x, fmt)
    assert tiled.size == tensor_bytes(fmt, Layout.RVV, 67, 33)
    assert plain.size == tensor_bytes(fmt, Layout.PLAIN, 67, 33)
    assert (unpack_float(tiled, fmt, 67, 33) == x).all()
    assert (unpack_plain(plain, fmt, 67, 33) == x).all()
    one = tiled.view("<f4") if fmt == Format.F32 else from_bf16(tiled.view("<u2"))
    assert one[7 * 64 + 5] == x[5, 7]


def test_q8_error_is_half_a_step_and_minus_128_never_occurs() -> None:
    x = random_rows(64, 256)
    q = quantize(x, Format.Q8)
    step = np.repeat(from_bf16(q.scales), 32, axis=1)
    assert np.abs(q.q).max() == 127
    # The largest value of a group may be clipped where its scale was rounded down: 2^-9 of 127 steps at most.
    assert (np.abs(q.float32(256) - x) <= 0.76 * step).all()


def test_four_bits_beat_the_plain_scale() -> None:
    x = random_rows(64, 512)
    groups = x.reshape(-1, 32)
    scale = round_bf16(np.abs(groups).max(axis=1, keepdims=True) / np.float32(7))
    plain = np.square(np.clip(np.rint(groups / scale), -8, 7) * scale - groups).mean()
    q4 = np.square(quantize(x, Format.Q4).float32(512) - x).mean()
    q4m = np.square(quantize(x, Format.Q4M).float32(512) - x).mean()
    assert q4 < 0.8 * plain
    assert q4m < 0.85 * q4


def test_four_bit_minimum_takes_an_offset() -> None:
    x = 3 + random_rows(8, 64)
    assert np.abs(quantize(x, Format.Q4M).float32(64) - x).max() < 0.03
    ragged = x[:, :40]
    assert np.abs(quantize(ragged, Format.Q4M).float32(40) - ragged).max() < 0.03


@pytest.mark.parametrize("fmt", QUANTIZED)
@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, 1e-42, 1e-30, 1e30])
def test_equal_and_extreme_groups(fmt: Format, value: float) -> None:
    x = np.full((2, 32), value, np.float32)
    back = quantize(x, fmt).float32(32)
    assert np.abs(back - x).max() <= max(abs(value) * 0.004, 2.0**-126)


@pytest.mark.parametrize(("kind", "fmt"), [(Kind.Q4_0, Format.Q4), (Kind.Q4_1, Format.Q4M), (Kind.Q8_0, Format.Q8)])
def test_gguf_blocks_pass_through(kind: Kind, fmt: Format) -> None:
    data = gguf.quants.quantize(random_rows(6, 96), kind)
    passed = from_blocks(Blocks(kind.name, data), "w")
    assert passed is not None
    assert passed.format == fmt
    exact = gguf.quants.dequantize(data, kind)
    assert np.abs(passed.float32(96) - exact).max() <= np.abs(exact).max() * 2**-8
    head = 4 if kind == Kind.Q4_1 else 2
    body = data.reshape(6, 3, -1)[:, :, head:]
    low = body.view(np.int8) if fmt == Format.Q8 else (body & 15).astype(np.int8) - 8
    width = low.shape[2]
    assert (passed.q.reshape(6, 3, 32)[:, :, :width] == low).all()


def test_blocks_that_cannot_pass() -> None:
    data = gguf.quants.quantize(random_rows(1, 32), Kind.Q8_0)
    data[0, 5] = 0x80
    assert from_blocks(Blocks("Q8_0", data), "w") is None
    assert from_blocks(Blocks("Q6_K", data), "w") is None
    data[0, :2] = [0, 0x7C]
    with pytest.raises(SourceError, match="w has a scale"):
        from_blocks(Blocks("Q8_0", data), "w")


def stored(name: str, rows: int, kind: Kind) -> MemoryTensor:
    data = gguf.quants.quantize(random_rows(rows, 64, rows), kind)
    return MemoryTensor(name, gguf.quants.dequantize(data, kind), Blocks(kind.name, data))


def test_blocks_survive_concatenation_and_interleaving() -> None:
    gate, up = stored("gate", 16, Kind.Q4_0), stored("up", 24, Kind.Q4_0)
    order = np.random.default_rng(3).permutation(40)
    weight = Weight.concat("w", [Weight("gate", (gate,)), Weight("up", (up,))]).take("w", order)
    rows = quantized_rows(weight, Format.Q4)
    apart = [from_blocks(t.stored, t.name) for t in (gate, up) if t.stored is not None]
    assert (rows.q == np.concatenate([p.q for p in apart if p is not None])[order]).all()
    assert (weight.float32() == np.concatenate([gate.values, up.values])[order]).all()
    data = encoded(weight, Format.Q4, Layout.SWAR)
    assert (unpack_quantized(data, Format.Q4, Layout.SWAR, 40, 64).q == rows.q).all()


def test_other_blocks_are_quantized_anew() -> None:
    tensor = stored("w", 8, Kind.Q4_1)
    rows = quantized_rows(Weight("w", (tensor,)), Format.Q8)
    assert np.abs(rows.float32(64) - tensor.values).max() < 0.01 * np.abs(tensor.values).max()


def test_large_weights_are_packed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = Weight("w", (MemoryTensor("w", random_rows(300, 64)),))
    for fmt in (Format.F32, Format.Q4):
        whole = encoded(weight, fmt, Layout.RVV)
        monkeypatch.setattr("host.quant.encode.BATCH_VALUES", 64 * 64)
        pieces = list(encode_weight(weight, fmt, Layout.RVV))
        assert len(pieces) == 5
        assert (np.concatenate(pieces) == whole).all()
        monkeypatch.undo()


def test_bf16_overflow_is_refused() -> None:
    weight = Weight("w", (MemoryTensor("w", np.full((1, 4), 3.4e38, np.float32)),))
    with pytest.raises(SourceError, match="beyond what bf16"):
        encoded(weight, Format.BF16, Layout.RVV)
