# SPDX-License-Identifier: Apache-2.0
"""The loader: what it refuses, with which error, and what it tells about it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from host.compiler.compile import Options
from host.compiler.passes import PASSES
from host.errors import BY_NUMBER, DeviceFailure
from host.ops import OpId
from host.schema import limits
from host.schema.formats.q4 import Q4
from host.schema.formats.q4m import Q4M
from host.schema.formats.q8 import Q8
from host.schema.image import NO_TENSOR, Activation, Domain, Format, Layout, Overflow, SectionFlag, SectionId, State
from tests.support.images import ImageEditor
from tests.support.native import ROOT, Native
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama

Edit = Callable[[ImageEditor], ImageEditor]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A quantized tiny Llama; the passes leave embed, norm, linear, rope, kv_store, attention, gather."""
    path = tmp_path_factory.mktemp("load") / "llama.hsp"
    tiny_image(path, tiny_llama(), Options(weights=Q4M, context=300, sessions=2, max_rows=16))
    return path.read_bytes()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A GPT-2 without any pass, so that eltwise, biases and quantize ops stand in the program."""
    path = tmp_path_factory.mktemp("load") / "gpt2.hsp"
    without = tuple(PASSES)
    tiny_image(path, tiny_gpt2(), Options(weights=Q8, context=100, max_rows=16, without=without))
    return path.read_bytes()


def refused(native: Native, image: bytes, arena: int = 4 << 20) -> tuple[str, int]:
    """Name of the error and its detail."""
    with pytest.raises(DeviceFailure) as failure:
        native.load(image, arena)
    assert not native.loaded
    return BY_NUMBER[failure.value.number].name, failure.value.detail


def test_a_good_image_tells_its_plan(native: Native, image: bytes) -> None:
    info = native.load(image)
    assert (info.vocab, info.context, info.max_rows, info.sessions, info.layers) == (131, 300, 16, 2, 2)
    assert info.image_bytes == len(image)
    assert bytes(info.root) == bytes(image[32:64])
    assert (info.bos, list(info.stop_ids)[: info.stop_count]) == (1, [2])


def test_arena_must_hold_the_plan_and_says_what_is_missing(native: Native, image: bytes) -> None:
    info = native.load(image)
    need = info.arena_bytes + info.runtime_bytes
    native.load(image, need)
    assert refused(native, image, need - 64) == ("ARENA_SMALL", 64)
    assert refused(native, image, 64) == ("ARENA_SMALL", need - 64)


def test_every_truncation_is_refused(native: Native, image: bytes) -> None:
    for size in [0, 1, 7, 8, 100, 4095]:
        assert refused(native, image[:size])[0] == ("IMAGE_ABSENT" if size < 8 else "IMAGE_TRUNCATED")
    for size in range(4096, len(image), 4093):
        assert refused(native, image[:size])[0] == "IMAGE_TRUNCATED"


def test_other_bytes_are_no_image(native: Native) -> None:
    assert refused(native, bytes(8192))[0] == "IMAGE_ABSENT"
    assert refused(native, b"\xff" * 8192)[0] == "IMAGE_ABSENT"


def test_a_flipped_byte_anywhere_is_found_by_the_hashes(native: Native, image: bytes) -> None:
    """Bytes between and behind the hashes' own padding included, apart from what nothing reads."""
    hashes, size = ImageEditor(image).sections[SectionId.HASHES]
    for offset in [*range(0, 4096, 61), *range(4096, hashes, 997), *range(hashes, hashes + size)]:
        broken = bytearray(image)
        broken[offset] ^= 0x20
        with pytest.raises(DeviceFailure):
            native.load(bytes(broken), 4 << 20)


HEADER: list[tuple[str, Edit]] = [
    ("IMAGE_VERSION", lambda e: e.header(version_major=1)),
    ("IMAGE_VERSION", lambda e: e.header(version_major=3)),
    ("IMAGE_VERSION", lambda e: e.header(version_major=0)),
    ("IMAGE_HEADER", lambda e: e.header(section_count=17)),
    ("IMAGE_NEW", lambda e: e.header(flags=1)),
    ("IMAGE_NEW", lambda e: e.header(hash=3)),
    ("IMAGE_TRUNCATED", lambda e: e.header(file_size=2**63)),
    ("IMAGE_SECTION", lambda e: e.header(payload_size=2**64 - 1)),
    ("IMAGE_SECTION", lambda e: e.header(payload_size=0)),
    ("IMAGE_SECTION", lambda e: e.section(SectionId.PLAN, offset=2**64 - 4096)),
    ("IMAGE_SECTION", lambda e: e.section(SectionId.PLAN, size=2**64 - 1)),
    ("IMAGE_SECTION", lambda e: e.section(SectionId.PLAN, offset=4096 + 64)),
    ("IMAGE_SECTION", lambda e: e.section(SectionId.TENSORS, offset=4096)),
    ("IMAGE_SECTION", lambda e: e.section(SectionId.PLAN, size=e.sections[SectionId.PLAN][1] - 4)),
    ("IMAGE_NEW", lambda e: e.section(SectionId.PLAN, flags=2)),
    ("IMAGE_SECTION", lambda e: e.section(SectionId.STATES, id=SectionId.PLAN)),
    ("IMAGE_NEW", lambda e: e.section(SectionId.PLAN, id=99)),
    ("IMAGE_NEW", lambda e: e.section(SectionId.MANIFEST, id=99, flags=SectionFlag.REQUIRED)),
    ("IMAGE_SECTION", lambda e: e.section(SectionId.WEIGHTS, id=99, flags=0)),
    ("IMAGE_TENSOR", lambda e: e.section(SectionId.NAMES, id=99, flags=0)),
    ("IMAGE_HASH", lambda e: e.header(root=bytes(32))),
]


@pytest.mark.parametrize(("error", "edit"), HEADER)
def test_header_and_sections(native: Native, image: bytes, error: str, edit: Edit) -> None:
    assert refused(native, edit(ImageEditor(image)).resealed_header())[0] == error


def test_unknown_optional_sections_are_passed_over(native: Native, image: bytes) -> None:
    native.load(ImageEditor(image).section(SectionId.MANIFEST, id=99).resealed_header())
    native.load(ImageEditor(image).header(version_minor=9).resealed_header())


PLAN: list[tuple[str, Edit]] = [
    ("IMAGE_LIMIT", lambda e: e.plan(vocab=2**32 - 1)),
    ("IMAGE_LIMIT", lambda e: e.plan(context=2**32 - 1)),
    ("IMAGE_LIMIT", lambda e: e.plan(max_rows=513)),
    ("IMAGE_LIMIT", lambda e: e.plan(max_logit_rows=513)),
    ("IMAGE_LIMIT", lambda e: e.plan(sessions=65)),
    ("IMAGE_LIMIT", lambda e: e.plan(op_count=2**31)),
    ("IMAGE_LIMIT", lambda e: e.plan(state_count=161)),
    ("IMAGE_PLAN", lambda e: e.plan(vocab=0)),
    ("IMAGE_PLAN", lambda e: e.plan(max_rows=0)),
    ("IMAGE_PLAN", lambda e: e.plan(sessions=0)),
    ("IMAGE_NEW", lambda e: e.plan(overflow=2)),
    ("IMAGE_PLAN", lambda e: e.plan(sinks=301)),
    ("IMAGE_PLAN", lambda e: e.plan(bos=131)),
    ("IMAGE_PLAN", lambda e: e.plan(stop_count=9)),
    ("IMAGE_PLAN", lambda e: e.plan(stop_count=0)),
    ("IMAGE_PLAN", lambda e: e.plan(output_width=64)),
    ("IMAGE_NEW", lambda e: e.plan(output_kind=4)),
    ("IMAGE_NEW", lambda e: e.plan(output_whole_step=2)),
    ("IMAGE_NEW", lambda e: e.plan(flags=1)),
    ("IMAGE_PLAN", lambda e: e.plan(stop_ids=[131] * 8)),
    ("IMAGE_PLAN", lambda e: e.plan(output_offset=2**32 - 1)),
    ("IMAGE_PLAN", lambda e: e.plan(output_stride=1)),
    ("IMAGE_PLAN", lambda e: e.plan(output_stride=2**32 - 1)),
    ("IMAGE_PLAN", lambda e: e.plan(arena_bytes=64)),
    ("IMAGE_PLAN", lambda e: e.plan(arena_bytes=1 << 20 | 1)),
    ("IMAGE_PLAN", lambda e: e.plan(runtime_bytes=0)),
    ("IMAGE_PLAN", lambda e: e.plan(runtime_bytes=2**64 - 1)),
    ("IMAGE_PLAN", lambda e: e.plan(sessions=3)),
    ("IMAGE_LIMIT", lambda e: e.plan(tensor_count=2**32 - 1)),
    ("IMAGE_SECTION", lambda e: e.plan(tensor_count=e.read_plan().tensor_count + 1)),
    ("IMAGE_SECTION", lambda e: e.plan(op_count=1)),
    ("IMAGE_STATE", lambda e: e.plan(context=1000)),
    ("IMAGE_STATE", lambda e: e.plan(overflow=Overflow.SLIDE)),
    ("ARENA_SMALL", lambda e: e.plan(arena_bytes=2**64 - 64)),
]


@pytest.mark.parametrize(("error", "edit"), PLAN)
def test_plan(native: Native, image: bytes, error: str, edit: Edit) -> None:
    assert refused(native, edit(ImageEditor(image)).sealed())[0] == error


TABLES: list[tuple[str, int, Edit]] = [
    ("IMAGE_NEW", 1, lambda e: e.tensor(1, format=9)),
    ("IMAGE_NEW", 1, lambda e: e.tensor(1, layout=3)),
    ("IMAGE_NEW", 1, lambda e: e.tensor(1, format=Format.KV8)),
    ("IMAGE_NEW", 1, lambda e: e.tensor(1, format=Q4.id, layout=Layout.PLAIN)),
    ("IMAGE_TENSOR", 0, lambda e: e.tensor(0, rows=0)),
    ("IMAGE_TENSOR", 0, lambda e: e.tensor(0, rows=0, size=0)),
    ("IMAGE_TENSOR", 0, lambda e: e.tensor(0, cols=0, size=0)),
    ("IMAGE_LIMIT", 0, lambda e: e.tensor(0, cols=2**32 - 1)),
    ("IMAGE_LIMIT", 0, lambda e: e.tensor(0, rows=2**32 - 1)),
    ("IMAGE_TENSOR", 0, lambda e: e.tensor(0, rows=4000)),
    ("IMAGE_TENSOR", 0, lambda e: e.tensor(0, size=2**64 - 64)),
    ("IMAGE_TENSOR", 0, lambda e: e.tensor(0, offset=2**64 - 64)),
    ("IMAGE_TENSOR", 0, lambda e: e.tensor(0, offset=32)),
    ("IMAGE_TENSOR", 0, lambda e: e.tensor(0, offset=e.sections[SectionId.WEIGHTS][1] // 64 * 64)),
    ("IMAGE_TENSOR", 0, lambda e: e.tensor(0, name_offset=2**32 - 1)),
    ("IMAGE_TENSOR", 0, lambda e: e.tensor(0, name_size=2**32 - 1)),
    ("IMAGE_NEW", 1, lambda e: e.state(1, kind=2)),
    ("IMAGE_NEW", 1, lambda e: e.state(1, format=Q8.id)),
    ("IMAGE_STATE", 1, lambda e: e.state(1, kv_heads=0)),
    ("IMAGE_LIMIT", 1, lambda e: e.state(1, kv_heads=2**32 - 1)),
    ("IMAGE_STATE", 1, lambda e: e.state(1, head_dim=20)),
    ("IMAGE_LIMIT", 1, lambda e: e.state(1, head_dim=264)),
    ("IMAGE_STATE", 1, lambda e: e.state(1, window=2**32 - 1)),
    ("IMAGE_STATE", 1, lambda e: e.state(1, window=10)),
    ("IMAGE_STATE", 1, lambda e: e.state(1, pages=0)),
    ("IMAGE_STATE", 1, lambda e: e.state(1, pages=2**32 - 1)),
    ("IMAGE_STATE", 1, lambda e: e.state(1, page_bytes=64)),
]


@pytest.mark.parametrize(("error", "detail", "edit"), TABLES)
def test_tensors_and_states(native: Native, image: bytes, error: str, detail: int, edit: Edit) -> None:
    assert refused(native, edit(ImageEditor(image)).sealed()) == (error, detail)


BIG = 2**32 - 1
OPS: list[tuple[OpId, dict[str, object]]] = [
    (OpId.EMBED, {"dst": {"offset": BIG}}),
    (OpId.EMBED, {"dst": {"stride": 1}}),
    (OpId.EMBED, {"dst": {"stride": BIG}}),
    (OpId.EMBED, {"dst": {"col": BIG}}),
    (OpId.EMBED, {"dst": {"space": 0}}),
    (OpId.EMBED, {"dst": {"space": 2}}),
    (OpId.EMBED, {"table": BIG}),
    (OpId.EMBED, {"table": 1}),
    (OpId.EMBED, {"positions": 0}),
    (OpId.EMBED, {"dim": 95}),
    (OpId.EMBED, {"dim": 0}),
    (OpId.EMBED, {"scale": float("nan")}),
    (OpId.NORM, {"width": 95}),
    (OpId.NORM, {"segments": 0}),
    (OpId.NORM, {"segments": BIG}),
    (OpId.NORM, {"eps": 0.0}),
    (OpId.NORM, {"eps": float("nan")}),
    (OpId.NORM, {"eps": -1.0}),
    (OpId.NORM, {"kind": 2}),
    (OpId.NORM, {"dst_format": Q8.id}),
    (OpId.NORM, {"weight": 0}),
    (OpId.NORM, {"bias": 10000}),
    (OpId.LINEAR, {"k": 64}),
    (OpId.LINEAR, {"n": 64}),
    (OpId.LINEAR, {"n": BIG}),
    (OpId.LINEAR, {"activation": max(Activation) + 1}),
    (OpId.LINEAR, {"gated": 1}),
    (OpId.LINEAR, {"gated": BIG}),
    (OpId.LINEAR, {"src_format": Format.F32}),
    (OpId.LINEAR, {"weight": NO_TENSOR}),
    (OpId.LINEAR, {"bias": 0}),
    (OpId.LINEAR, {"src": {"offset": 1}}),
    (OpId.LINEAR, {"src": {"col": 1}}),
    (OpId.LINEAR, {"dst": {"offset": BIG}}),
    (OpId.LINEAR, {"residual": {"space": 1, "offset": BIG, "stride": 4096}}),
    (OpId.ROPE_TABLE, {"frequencies": 0}),
    (OpId.ROPE_TABLE, {"half": 13}),
    (OpId.ROPE_TABLE, {"half": BIG}),
    (OpId.ROPE_TABLE, {"scale": float("inf")}),
    (OpId.ROPE, {"heads": BIG}),
    (OpId.ROPE, {"rotary": 26}),
    (OpId.ROPE, {"rotary": 23}),
    (OpId.ROPE, {"rotary": 0}),
    (OpId.ROPE, {"style": 2}),
    (OpId.ROPE, {"head_dim": BIG}),
    (OpId.KV_STORE, {"state": 2}),
    (OpId.KV_STORE, {"state": BIG}),
    (OpId.KV_STORE, {"k": {"col": 1000}}),
    (OpId.KV_STORE, {"v": {"space": 0}}),
    (OpId.ATTENTION, {"state": 2}),
    (OpId.ATTENTION, {"state": 1}),
    (OpId.ATTENTION, {"heads": 3}),
    (OpId.ATTENTION, {"heads": 0}),
    (OpId.ATTENTION, {"heads": BIG}),
    (OpId.ATTENTION, {"scale": 0.0}),
    (OpId.ATTENTION, {"softcap": -1.0}),
    (OpId.ATTENTION, {"partial": {"offset": BIG}}),
    (OpId.ATTENTION, {"partial": {"space": 0}}),
    (OpId.GATHER, {"width": BIG}),
    (OpId.GATHER, {"src": {"space": 0}}),
]


@pytest.mark.parametrize(("id_", "fields"), OPS)
def test_op(native: Native, image: bytes, id_: OpId, fields: dict[str, object]) -> None:
    editor = ImageEditor(image)
    assert refused(native, editor.op(id_, **fields).sealed()) == ("IMAGE_OP", editor.find(id_))


PLAIN_OPS: list[tuple[OpId, dict[str, object]]] = [
    (OpId.QUANTIZE, {"width": 65}),
    (OpId.QUANTIZE, {"dst": {"offset": BIG}}),
    (OpId.ELTWISE, {"kind": 5}),
    (OpId.ELTWISE, {"activation": max(Activation) + 1}),
    (OpId.ELTWISE, {"width": BIG}),
    (OpId.ELTWISE, {"a": {"space": 0}}),
    (OpId.ELTWISE, {"b": {"space": 2}}),
    (OpId.ELTWISE, {"tensor": BIG}),
    (OpId.EMBED, {"positions": BIG - 1}),
]


@pytest.mark.parametrize(("id_", "fields"), PLAIN_OPS)
def test_unfused_op(native: Native, plain: bytes, id_: OpId, fields: dict[str, object]) -> None:
    native.load(plain)
    editor = ImageEditor(plain)
    assert refused(native, editor.op(id_, **fields).sealed()) == ("IMAGE_OP", editor.find(id_))


@pytest.mark.parametrize("id_", [OpId.QUANTIZE, OpId.GATHER])
def test_what_is_copied_or_quantized_lies_apart_from_the_result(native: Native, plain: bytes, id_: OpId) -> None:
    editor = ImageEditor(plain)
    index = editor.find(id_)
    beside = editor.read_op(index).src.offset + 1
    assert refused(native, editor.op(id_, dst={"offset": beside}).sealed()) == ("IMAGE_OP", index)


@pytest.mark.parametrize(
    "head", [{"id": 0}, {"id": max(OpId) + 1}, {"id": 65535}, {"version": 0}, {"version": 9}, {"domain": 2}]
)
def test_op_head(native: Native, image: bytes, head: dict[str, int]) -> None:
    assert refused(native, ImageEditor(image).op_head(3, **head).sealed()) == ("IMAGE_NEW", 3)


@pytest.mark.parametrize("id_", [OpId.EMBED, OpId.ROPE_TABLE, OpId.ROPE, OpId.KV_STORE, OpId.ATTENTION])
def test_ops_with_positions_run_on_all_rows(native: Native, image: bytes, id_: OpId) -> None:
    editor = ImageEditor(image)
    index = editor.find(id_)
    assert refused(native, editor.op_head(index, domain=Domain.LOGIT_ROWS).sealed()) == ("IMAGE_OP", index)


def test_learned_positions_do_not_slide(native: Native, plain: bytes) -> None:
    """Everything else made right for sliding, so that it is the table of positions that is refused."""
    editor = ImageEditor(plain)
    context, rows = 100, 16
    pages = -(-(context + rows) // 64) + 1
    for i in range(2):
        editor.state(i, window=context, pages=pages)
    largest = State.parse(plain[editor.sections[SectionId.STATES][0] :]).page_bytes
    total = 2 * pages
    runtime = 3 * (-(-4 * total // 64) * 64) + (-(-4 * context // 64) * 64) + (-(-8 * 131 // 64) * 64) + total * largest
    editor.plan(overflow=Overflow.SLIDE, runtime_bytes=runtime)
    assert refused(native, editor.sealed()) == ("IMAGE_OP", editor.find(OpId.EMBED))


def test_the_compiler_knows_the_firmwares_limits() -> None:
    text = (ROOT / "firmware/common/limits.h").read_text()
    found = re.findall(r"#define (LIMIT_\w+)\s+(?:(\d+)u|\(1u << (\d+)\))$", text, re.MULTILINE)
    shipped = {name: int(plain) if plain else 1 << int(shift) for name, plain, shift in found}
    known = {name: value for name, value in vars(limits).items() if name.startswith("LIMIT_")}
    assert len(known) >= 5
    assert {name: shipped[name] for name in known} == known
