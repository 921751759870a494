# SPDX-License-Identifier: Apache-2.0
"""Signing an image and checking a signature: the header page is signed, and its digests vouch for every other byte."""

from __future__ import annotations

import shutil
from pathlib import Path

from construct import ConstructError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from host.errors import HostError, ImageError
from host.image.reader import Image
from host.image.writer import header_page
from host.output import replacing
from host.schema.image import (
    HEADER_BYTES,
    SECTION_ALIGN,
    SECTION_TABLE_OFFSET,
    Section,
    SectionId,
    Signature,
    SignatureAlgorithm,
    align,
)
from host.trust.keys import key_id, public_bytes


def sign_image(image: Image, key: Ed25519PrivateKey, out: Path, image_version: int | None = None) -> None:
    """Write ``image`` to ``out`` (which may be the same file) with a signature, in the place of any that it has.

    image_version: the publisher's counter, as it is if None. HostError where ``out`` cannot be written.
    """
    table = [entry for entry in _section_table(image) if entry["id"] != SectionId.SIGNATURE]
    end = align(max(entry["offset"] + entry["size"] for entry in table), SECTION_ALIGN)
    table.append({"id": SectionId.SIGNATURE, "flags": 0, "offset": end, "size": Signature.sizeof()})
    header = dict(image.header) | {"section_count": len(table), "file_size": end + SECTION_ALIGN}
    if image_version is not None:
        header["image_version"] = image_version
    page = header_page(header, table)
    section = Signature.build(
        {
            "algorithm": SignatureAlgorithm.ED25519,
            "reserved": 0,
            "key_id": key_id(public_bytes(key.public_key())),
            "signature": key.sign(page),
        }
    )
    _write(image.path, out, end, page, section.ljust(SECTION_ALIGN, b"\0"))


def _section_table(image: Image) -> list[dict[str, int]]:
    """All entries, also of sections that this version does not know."""
    with image.path.open("rb") as file:
        page = file.read(HEADER_BYTES)
    places = range(SECTION_TABLE_OFFSET, HEADER_BYTES, Section.sizeof())[: image.header["section_count"]]
    return [dict(Section.parse(page[at : at + Section.sizeof()])) for at in places]


def _write(source: Path, out: Path, end: int, page: bytes, section: bytes) -> None:
    try:
        with replacing(out) as part, part.open("wb") as file, source.open("rb") as original:
            shutil.copyfileobj(original, file, 1 << 20)
            file.truncate(end)
            file.seek(end)
            file.write(section)
            file.seek(0)
            file.write(page)
            shutil.copymode(source, part)
    except OSError as error:
        raise HostError(f"cannot write {out}: {error.strerror}; choose another place with -o") from None


def check_signature(image: Image, public: bytes) -> None:
    """Check that the key with these 32 bytes signed the image's header; `Image.verify` checks the rest.

    Raises ImageError that says whether there is none, another key's, or a wrong one.
    """
    if SectionId.SIGNATURE not in image.sections:
        raise ImageError(f"{image.path} is not signed; host sign does it")
    try:
        found = Signature.parse(image.section(SectionId.SIGNATURE))
    except ConstructError:
        raise ImageError(f"{image.path}: the signature is damaged; sign it again") from None
    if found.algorithm != SignatureAlgorithm.ED25519 or found.reserved:
        raise ImageError(f"{image.path}: signed by algorithm {found.algorithm}, which is not known here")
    if found.key_id != key_id(public):
        raise ImageError(
            f"{image.path}: signed by key {found.key_id.hex()}, not by {key_id(public).hex()}; sign it by that key"
        )
    with image.path.open("rb") as file:
        page = file.read(HEADER_BYTES)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(found.signature, page)
    except (InvalidSignature, ValueError):
        raise ImageError(f"{image.path}: the signature is wrong; the image was altered after it was signed") from None
