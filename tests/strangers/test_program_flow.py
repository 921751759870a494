# SPDX-License-Identifier: Apache-2.0
"""Accepted images that broke a promise: overwritten values, ops that write what another hart reads.

The loader proves that what an op reads was written as it is read, by ops before it in the same step, and that within an
op no hart writes what another reads. What the packer makes passes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host.compiler.compile import Options
from host.compiler.passes import PASSES
from host.errors import BY_NUMBER, DeviceFailure, ImageError
from host.files.source import Source
from host.image.reader import Image
from host.ops import OpId
from host.schema.formats.bf16 import BF16
from host.schema.formats.f32 import F32
from host.schema.formats.q4 import Q4
from host.schema.formats.q4m import Q4M
from host.schema.formats.q8 import Q8
from host.schema.image import OP_BYTES, Domain, Format, Layout, Overflow
from tests.fuzz.image_parts import set_plan, set_program, take_apart
from tests.support.family_rows import rows, tiny_model
from tests.support.images import ImageEditor
from tests.support.native import Native
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama

SMALL = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
ARENA = 8 << 20
Edit = Callable[[ImageEditor], object]


def pack(folder: Path, source: Source, **options: Any) -> bytes:
    path = folder / "image.hsp"
    tiny_image(path, source, Options(**{"context": 100, "max_rows": 16, "sessions": 2} | options))
    return path.read_bytes()


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """EMBED, NORM to Q8A, LINEAR of q, k and v, ROPE_TABLE, ROPE twice, KV_STORE, ATTENTION, QUANTIZE, LINEAR …"""
    return pack(tmp_path_factory.mktemp("flow"), tiny_llama(**SMALL), weights=Q8)


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The unfused program of a GPT-2 with f32 weights: norms, products, eltwise in f32."""
    return pack(tmp_path_factory.mktemp("flow"), tiny_gpt2(), weights=F32, without=tuple(PASSES))


def refused(native: Native, editor: ImageEditor) -> str:
    with pytest.raises(DeviceFailure) as failure:
        native.load(editor.sealed(), ARENA)
    return BY_NUMBER[failure.value.number].name


def place(editor: ImageEditor, id_: OpId, name: str, nth: int = 0) -> dict[str, int]:
    """An operand as fields to give to another one."""
    found = editor.read_op(editor.find(id_, nth))[name]
    return {"space": found.space, "offset": found.offset, "stride": found.stride, "col": found.col}


def swap(editor: ImageEditor, one: int, other: int) -> ImageEditor:
    """Two ops change places."""
    a, b = (slice(editor.op_offset(i), editor.op_offset(i) + OP_BYTES) for i in (one, other))
    editor.data[a], editor.data[b] = editor.data[b], editor.data[a]
    return editor


# ---- between ops ----


def test_what_is_quantized_is_not_overwritten_before_it_is_read(native: Native, fused: bytes) -> None:
    """The table of positions is written over the quantized rows, between the norm that made them and the product."""
    editor = ImageEditor(fused)
    table, product = editor.find(OpId.ROPE_TABLE), editor.find(OpId.LINEAR)
    swap(editor, min(table, product), max(table, product))
    native.load(ImageEditor(bytes(editor.data)).sealed(), ARENA)  # in another order, and apart, it is no fault
    quantized = place(editor, OpId.NORM, "dst")["offset"]
    editor.op(OpId.ROPE_TABLE, dst={"offset": quantized})
    for op in (0, 1):
        editor.op(OpId.ROPE, op, table={"offset": quantized})
    assert refused(native, editor) == "IMAGE_OP"


def test_a_part_of_a_row_is_not_overwritten_either(native: Native, fused: bytes) -> None:
    """Sums of the first row alone, by the last row of another buffer."""
    editor = ImageEditor(fused)
    quantized, table = place(editor, OpId.NORM, "dst"), place(editor, OpId.ROPE_TABLE, "dst")
    last = quantized["offset"] + quantized["stride"] - 1 - 15 * table["stride"]
    swap(editor, editor.find(OpId.ROPE_TABLE), editor.find(OpId.LINEAR))
    editor.op(OpId.ROPE_TABLE, dst={"offset": max(last, 0)})
    assert refused(native, editor) == "IMAGE_OP"


def test_an_op_reads_what_was_written_in_this_step(native: Native, fused: bytes) -> None:
    """Not what a step before left, and not memory that nothing writes."""
    editor = ImageEditor(fused)
    first, second = editor.find(OpId.EMBED), editor.find(OpId.NORM)
    assert refused(native, swap(editor, first, second)) == "IMAGE_OP"
    editor = ImageEditor(fused)
    end = editor.read_plan().arena_bytes
    editor.plan(arena_bytes=end + (1 << 16)).op(OpId.NORM, 1, src={"offset": end // 64})
    assert refused(native, editor) == "IMAGE_OP"


def test_values_are_read_as_the_kind_and_in_the_rows_that_they_were_written(native: Native, fused: bytes) -> None:
    editor = ImageEditor(fused)
    quantized = place(editor, OpId.NORM, "dst")
    assert refused(native, editor.op(OpId.KV_STORE, k=quantized)) == "IMAGE_OP"
    editor = ImageEditor(fused)
    row = place(editor, OpId.ROPE, "x")
    assert refused(native, editor.op(OpId.ROPE, x={"offset": row["offset"] + row["stride"]})) == "IMAGE_OP"
    editor = ImageEditor(fused)
    last = editor.find(OpId.LINEAR, editor.op_ids().count(OpId.LINEAR) - 1)
    assert refused(native, editor.op_head(last, domain=Domain.ROWS)) in ("IMAGE_OP", "IMAGE_PLAN")


def test_nobody_reads_what_attention_keeps_for_itself(native: Native, fused: bytes) -> None:
    """It is written with several harts alone."""
    editor = ImageEditor(fused)
    partial = place(editor, OpId.ATTENTION, "partial")["offset"]
    assert refused(native, editor.op(OpId.ATTENTION, dst={"offset": partial})) == "IMAGE_OP"
    editor = ImageEditor(fused)
    query = place(editor, OpId.ATTENTION, "q")["offset"]
    assert refused(native, editor.op(OpId.ATTENTION, partial={"offset": query})) == "IMAGE_OP"
    # Over the residual, which is read behind it.
    editor = ImageEditor(fused)
    residual = place(editor, OpId.LINEAR, "residual", 1)["offset"]
    assert refused(native, editor.op(OpId.ATTENTION, partial={"offset": residual})) == "IMAGE_OP"


def test_logits_are_what_the_program_wrote_last(native: Native, fused: bytes) -> None:
    editor = ImageEditor(fused)
    logits = editor.read_plan().output_offset
    assert refused(native, editor.plan(output_offset=logits + 1, arena_bytes=1 << 20)) == "IMAGE_PLAN"
    editor = ImageEditor(fused)
    assert refused(native, editor.plan(vocab=editor.read_plan().vocab + 64)) != "IMAGE_HASH"


# ---- within an op ----


@pytest.mark.parametrize(
    "edit",
    [
        # Over its own input, which other harts still multiply with.
        lambda e: e.op(OpId.LINEAR, dst=place(e, OpId.LINEAR, "src")),
        # In place, but not exactly: an element further on, or a row.
        lambda e: e.op(OpId.ELTWISE, dst=place(e, OpId.ELTWISE, "a") | {"col": 1}),
        lambda e: e.op(OpId.ELTWISE, dst={"offset": place(e, OpId.ELTWISE, "a")["offset"] + 1}),
        lambda e: e.op(OpId.NORM, dst={"offset": place(e, OpId.NORM, "src")["offset"] + 1}),
        lambda e: e.op(OpId.ATTENTION, dst=place(e, OpId.ATTENTION, "q")),
    ],
)
def test_no_hart_writes_what_another_reads(native: Native, floats: bytes, edit: Edit) -> None:
    native.load(floats, ARENA)
    editor = ImageEditor(floats)
    edit(editor)
    assert refused(native, editor) == "IMAGE_OP"


def test_in_place_is_allowed_where_kernels_allow_it(native: Native, native4: Native, floats: bytes) -> None:
    """Sums over one of their inputs; the harts agree."""
    editor, logits = ImageEditor(floats), []
    assert place(editor, OpId.ELTWISE, "dst") in [place(editor, OpId.ELTWISE, name) for name in ("a", "b")]
    for device in (native, native4):
        device.load(floats, ARENA)
        logits.append(device.feed([5, 1, 4, 1, 3]))
    assert (logits[0].view(np.uint32) == logits[1].view(np.uint32)).all()


# ---- what the packer makes ----

ALONE = ("llama", "gpt2")
"""Families for which each pass is left out alone."""
SLIDE = {"overflow": Overflow.SLIDE, "sinks": 3}


@pytest.mark.parametrize(
    ("family", "without"),
    [
        *((family, without) for family in rows() for without in ((), tuple(PASSES))),
        *((family, (name,)) for family in ALONE for name in PASSES),
    ],
)
def test_every_program_of_the_packer_passes(
    native: Native, tmp_path: Path, family: str, without: tuple[str, ...]
) -> None:
    native.load(pack(tmp_path, tiny_model(family), weights=Q4, without=without), ARENA)


@pytest.mark.parametrize(
    "options",
    [
        {"weights": F32, "kv": Format.F32},
        {"weights": BF16, "max_rows": 1, "max_logit_rows": 1},
        {"weights": Q4M, "layout": Layout.SWAR, **SLIDE},
        {"weights": Q8, "layout": Layout.RVV, "max_rows": 64, "max_logit_rows": 64, "context": 400},
    ],
)
def test_every_shape_of_the_packer_passes(native: Native, tmp_path: Path, options: dict[str, Any]) -> None:
    native.load(pack(tmp_path, tiny_llama(), **options), ARENA)


def test_the_longest_program_is_checked_in_bounded_time(native: Native, floats: bytes) -> None:
    """2048 ops, each of which reads what the first one wrote."""
    draft, editor = take_apart(floats), ImageEditor(floats)
    end = editor.read_plan().arena_bytes
    editor.op(OpId.NORM, src=place(editor, OpId.EMBED, "dst"), dst={"offset": end // 64})
    ops = [bytes(editor.data[editor.op_offset(editor.find(id_)) :][:OP_BYTES]) for id_ in (OpId.EMBED, OpId.NORM)]
    set_program(draft, ops[0] + ops[1] * 2047)
    set_plan(draft, arena_bytes=end + (1 << 16))
    image = draft.seal(random.Random(0))
    began = time.process_time()
    with pytest.raises(DeviceFailure) as failure:
        native.load(image, ARENA)
    assert BY_NUMBER[failure.value.number].name == "IMAGE_PLAN"  # at the end: nothing wrote logits
    assert time.process_time() - began < 1.5


def test_a_program_holds_so_many_values_at_once(native: Native, floats: bytes) -> None:
    """As many as FLOW_VALUES, in an arena that has room for more."""
    draft, editor = take_apart(floats), ImageEditor(floats)
    end, dst = editor.read_plan().arena_bytes, place(editor, OpId.EMBED, "dst")
    ops = []
    for i in range(65):
        editor.op(OpId.EMBED, dst={"offset": end // 64 + 16 * dst["stride"] * i})
        ops.append(bytes(editor.data[editor.op_offset(editor.find(OpId.EMBED)) :][:OP_BYTES]))
    set_plan(draft, arena_bytes=end + 65 * 16 * 64 * dst["stride"])
    for count, error in ((64, "IMAGE_PLAN"), (65, "IMAGE_LIMIT")):
        set_program(draft, b"".join(ops[:count]))
        with pytest.raises(DeviceFailure) as failure:
            native.load(draft.seal(random.Random(0)), ARENA)
        assert BY_NUMBER[failure.value.number].name == error


def test_an_operand_that_is_not_there_has_no_place(native: Native, fused: bytes, tmp_path: Path) -> None:
    """Host and device refuse what a later version may mean by it."""
    editor = ImageEditor(fused)
    nowhere = [i for i, op in enumerate(editor.op_ids()) if op == OpId.LINEAR and not editor.read_op(i).residual.space]
    first = sum(op == OpId.LINEAR for op in editor.op_ids()[: nowhere[0]])
    image = editor.op(OpId.LINEAR, first, residual={"offset": 1}).sealed()
    with pytest.raises(DeviceFailure) as failure:
        native.load(image, ARENA)
    assert BY_NUMBER[failure.value.number].name == "IMAGE_OP"
    path = tmp_path / "image.hsp"
    path.write_bytes(image)
    with pytest.raises(ImageError, match="residual"):
        Image(path)
