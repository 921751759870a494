# SPDX-License-Identifier: Apache-2.0
"""Images of a later or an earlier version: refused by device and host alike wherever they ask for something unknown.

A later writer uses what is reserved now: bytes behind an op's fields, a longer plan, other kinds of states and outputs.
One that sets none of it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from host.compiler.compile import Options
from host.errors import BY_NUMBER, DeviceFailure, ImageError
from host.image.reader import Image
from host.schema.formats.q8 import Q8
from host.schema.image import (
    HEADER_DIGEST_OFFSET,
    OP_BYTES,
    SECTION_ALIGN,
    SECTION_TABLE_OFFSET,
    Header,
    Layout,
    OpHead,
    Plan,
    SectionId,
    State,
    Tensor,
)
from tests.fuzz.image_parts import take_apart
from tests.support.images import ImageEditor
from tests.support.native import Native
from tests.support.tiny import tiny_image, tiny_llama

ARENA = 4 << 20
NORM = 2


class Never:
    """What `Draft.seal` asks for chance: each hash is right."""

    def random(self) -> float:
        return 1.0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("newer") / "image.hsp"
    tiny_image(path, tiny_llama(num_hidden_layers=1), Options(weights=Q8, context=40, max_rows=4))
    return path.read_bytes()


def device_says(native: Native, image: bytes) -> str:
    """Name of the error; empty where the image is accepted."""
    try:
        native.load(image, ARENA)
    except DeviceFailure as failure:
        return BY_NUMBER[failure.number].name
    return ""


def host_says(folder: Path, image: bytes) -> str:
    """What the host's reader says; empty where the image is accepted."""
    path = folder / "image.hsp"
    path.write_bytes(image)
    try:
        Image(path).verify()
    except ImageError as error:
        return str(error)
    return ""


def both_call_it_newer(native: Native, folder: Path, image: bytes) -> None:
    assert device_says(native, image) == "IMAGE_NEW"
    assert "newer version" in host_says(folder, image)


def op_at(e: ImageEditor, at: int) -> int:
    """Where byte ``at`` of the record of the first NORM stands."""
    ids = [OpHead.parse(bytes(e.data[e.op_offset(i) :])).id for i in range(e.read_plan().op_count)]
    return e.op_offset(ids.index(NORM)) + at


PLACES: dict[str, Callable[[ImageEditor], int]] = {
    "op head": lambda e: op_at(e, OpHead.sizeof() - 1),
    "behind an op's fields": lambda e: op_at(e, 100),
    "end of an op": lambda e: op_at(e, OP_BYTES - 1),
    "end of a tensor": lambda e: e.sections[SectionId.TENSORS][0] + Tensor.sizeof() - 1,
    "end of a state": lambda e: e.sections[SectionId.STATES][0] + State.sizeof() - 1,
    "behind the header": lambda _: Header.sizeof(),
    "before the section table": lambda _: SECTION_TABLE_OFFSET - 1,
    "end of a section's entry": lambda e: e.entry(1) - 1,
    "behind the section table": lambda e: e.entry(len(e.table())),
    "before the header's digest": lambda _: HEADER_DIGEST_OFFSET - 1,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_what_is_reserved_is_zero(
    native: Native, tmp_path: Path, image: bytes, place: Callable[[ImageEditor], int]
) -> None:
    editor = ImageEditor(image)
    at = place(editor)
    assert editor.data[at] == 0
    editor.data[at] = 1
    both_call_it_newer(native, tmp_path, editor.sealed())


EDITS: list[Callable[[ImageEditor], ImageEditor]] = [
    lambda e: e.header(flags=1),
    lambda e: e.header(hash=3),
    lambda e: e.header(hash=0),
    lambda e: e.section(SectionId.MANIFEST, flags=2),
    lambda e: e.section(SectionId.MANIFEST, id=99, flags=1),
    lambda e: e.plan(output_kind=4),
    lambda e: e.plan(output_whole_step=2),
    lambda e: e.plan(flags=1 << 31),
    lambda e: e.plan(overflow=2),
    lambda e: e.tensor(0, format=99),
    lambda e: e.tensor(0, layout=9),
    lambda e: e.tensor(0, layout=Layout.PLAIN),
    lambda e: e.state(0, kind=2),
    lambda e: e.state(0, format=99),
    lambda e: e.op_head(1, id=200),
    lambda e: e.op_head(1, version=2),
    lambda e: e.op_head(1, domain=2),
]


@pytest.mark.parametrize("edit", EDITS)
def test_kinds_flags_and_versions_are_known(
    native: Native, tmp_path: Path, image: bytes, edit: Callable[[ImageEditor], ImageEditor]
) -> None:
    both_call_it_newer(native, tmp_path, edit(ImageEditor(image)).sealed())


def with_plan(image: bytes, more: bytes, less: int = 0) -> bytes:
    """The plan longer or shorter than it is known here."""
    draft = take_apart(image)
    plan = draft.get(SectionId.PLAN)
    draft.put(SectionId.PLAN, plan[: len(plan) - less] + more)
    return draft.seal(Never())  # type: ignore[arg-type]


def test_a_plan_may_be_longer_by_zeros(native: Native, tmp_path: Path, image: bytes) -> None:
    most = SECTION_ALIGN - Plan.sizeof()
    for more in (4, 64, most):
        longer = with_plan(image, bytes(more))
        assert (device_says(native, longer), host_says(tmp_path, longer)) == ("", "")
        both_call_it_newer(native, tmp_path, with_plan(image, bytes(more - 1) + b"\1"))
    for wrong in (with_plan(image, bytes(most + 4)), with_plan(image, b"", 4)):
        assert device_says(native, wrong) == "IMAGE_SECTION"
        assert "plan" in host_says(tmp_path, wrong)


def test_logits_are_as_wide_as_the_vocabulary(native: Native, tmp_path: Path, image: bytes) -> None:
    wrong = ImageEditor(image).plan(output_width=64).sealed()
    assert device_says(native, wrong) == "IMAGE_PLAN"
    assert "logits" in host_says(tmp_path, wrong)


def test_an_old_image_is_to_be_packed_again(native: Native, tmp_path: Path, image: bytes) -> None:
    """One line of it, from a device of this version too."""
    old = ImageEditor(image).header(version_major=1).resealed_header()
    assert device_says(native, old) == "IMAGE_VERSION"
    words = host_says(tmp_path, old)
    assert "format version 1" in words
    assert "host pack" in words
    assert "\n" not in words
    both = ImageEditor(image).header(version_major=3).resealed_header()
    assert device_says(native, both) == "IMAGE_VERSION"
    assert "newer version" in host_says(tmp_path, both)
