# SPDX-License-Identifier: Apache-2.0
"""Bytes of an image that nothing vouches for: behind the hashes there are zeros and a signature, or it is refused.

By the loader and by the host's reader alike.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from host.compiler.compile import Options
from host.errors import BY_NUMBER, DeviceFailure, ImageError
from host.image.hashing import header_digest
from host.image.reader import Image
from host.schema.formats.q8 import Q8
from host.schema.image import (
    HEADER_BYTES,
    HEADER_DIGEST_OFFSET,
    LEAF_BYTES,
    MAX_SECTIONS,
    SECTION_ALIGN,
    SECTION_TABLE_OFFSET,
    HashId,
    Header,
    Section,
    SectionId,
    Signature,
    align,
)
from tests.support.images import ImageEditor
from tests.support.native import Native
from tests.support.tiny import tiny_image, tiny_llama

ARENA = 4 << 20


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("behind") / "image.hsp"
    tiny_image(path, tiny_llama(num_hidden_layers=1), Options(weights=Q8, context=40, max_rows=4))
    return path.read_bytes()


def with_section(image: bytes, section: int, contents: bytes) -> bytes:
    """One more section behind the hashes, the header's digest made right, as anybody can."""
    header = Header.parse(image)
    at = align(len(image), SECTION_ALIGN)
    page = bytearray(image[:HEADER_BYTES])
    entry = SECTION_TABLE_OFFSET + header.section_count * Section.sizeof()
    page[entry : entry + Section.sizeof()] = Section.build(
        {"id": section, "flags": 0, "offset": at, "size": len(contents)}
    )
    body = contents.ljust(align(len(contents), SECTION_ALIGN), b"\0")
    page[: Header.sizeof()] = Header.build(
        header | {"section_count": header.section_count + 1, "file_size": at + len(body)}
    )
    page[HEADER_DIGEST_OFFSET:] = header_digest(HashId(header.hash), bytes(page[:HEADER_DIGEST_OFFSET]))
    return bytes(page) + image[HEADER_BYTES:].ljust(at - HEADER_BYTES, b"\0") + body


def signature() -> bytes:
    built: bytes = Signature.build({"algorithm": 1, "reserved": 0, "key_id": b"k" * 8, "signature": b"s" * 64})
    return built


def both_refuse(native: Native, folder: Path, image: bytes, match: str, name: str = "IMAGE_SECTION") -> None:
    with pytest.raises(DeviceFailure) as failure:
        native.load(image, ARENA)
    assert BY_NUMBER[failure.value.number].name == name
    path = folder / "refused.hsp"
    path.write_bytes(image)
    with pytest.raises(ImageError, match=match):
        Image(path)


def both_accept(native: Native, folder: Path, image: bytes) -> None:
    native.load(image, ARENA)
    path = folder / "accepted.hsp"
    path.write_bytes(image)
    Image(path).verify()


def test_what_a_writer_makes_and_signs_is_accepted(native: Native, tmp_path: Path, image: bytes) -> None:
    both_accept(native, tmp_path, image)
    both_accept(native, tmp_path, with_section(image, SectionId.SIGNATURE, signature()))


@pytest.mark.parametrize("where", [0, 17, -1])
def test_padding_behind_the_hashes_is_zero(native: Native, tmp_path: Path, image: bytes, where: int) -> None:
    at, size = ImageEditor(image).sections[SectionId.HASHES]
    broken = bytearray(image)
    broken[at + size + where if where >= 0 else where] = 1
    both_refuse(native, tmp_path, bytes(broken), "nothing vouches for")


def test_an_optional_section_that_nobody_knows_stands_before_the_hashes(
    native: Native, tmp_path: Path, image: bytes
) -> None:
    both_refuse(native, tmp_path, with_section(image, 1000, b"anything"), "behind the hashes")
    both_refuse(native, tmp_path, with_section(image, SectionId.CHAT, b"anything"), "behind the hashes")


@pytest.mark.parametrize("size", [0, 79, 81, 5000])
def test_a_signature_has_its_size(native: Native, tmp_path: Path, image: bytes, size: int) -> None:
    contents = signature().ljust(size, b"x")[:size]
    both_refuse(native, tmp_path, with_section(image, SectionId.SIGNATURE, contents), f"has {size} bytes")


def test_padding_behind_a_signature_is_zero(native: Native, tmp_path: Path, image: bytes) -> None:
    broken = bytearray(with_section(image, SectionId.SIGNATURE, signature()))
    broken[-1] = 0x80
    both_refuse(native, tmp_path, bytes(broken), "nothing vouches for")


@pytest.mark.parametrize("pages", [-1, 1])
def test_the_hashes_cover_all_that_stands_before_them(native: Native, tmp_path: Path, image: bytes, pages: int) -> None:
    """The leaves are as many, and each of them is right."""
    payload = ImageEditor(image).sections[SectionId.HASHES][0] - HEADER_BYTES
    assert payload % LEAF_BYTES > SECTION_ALIGN
    edited = ImageEditor(image).header(payload_size=payload + pages * SECTION_ALIGN)
    both_refuse(native, tmp_path, edited.resealed_header(), "cover")


def test_a_section_ends_within_the_file(native: Native, tmp_path: Path, image: bytes) -> None:
    at, size = ImageEditor(image).sections[SectionId.HASHES]
    both_refuse(native, tmp_path, ImageEditor(image).header(file_size=at + size - 1).resealed_header(), "wrong place")


def test_a_table_has_room_for_its_entries(native: Native, tmp_path: Path, image: bytes) -> None:
    edited = ImageEditor(image).header(section_count=MAX_SECTIONS + 1).resealed_header()
    both_refuse(native, tmp_path, edited, "contradicts", "IMAGE_HEADER")


def test_a_file_goes_on_with_zeros_at_most(tmp_path: Path, image: bytes) -> None:
    """What copies whole blocks pads with zeros. A device sees memory, which goes on with whatever lay there."""
    path = tmp_path / "longer.hsp"
    path.write_bytes(image + bytes(5000))
    Image(path)
    path.write_bytes(image + bytes(5000) + b"\1")
    with pytest.raises(ImageError, match="vouches"):
        Image(path)
