# SPDX-License-Identifier: Apache-2.0
"""Writing an image: sections in order, hashed while they are written, renamed into place when complete."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from host.compiler.compile import Compiled
from host.compiler.tensors import TensorSpec
from host.errors import HostError
from host.files.source import Source, Tokenizer
from host.image.device_text import text_section
from host.image.hashing import Running, header_digest, leaf_count, leaf_hash, root_digest
from host.image.text.pattern import Unsupported
from host.ir.lowering import StateRecord
from host.ir.value import Vector
from host.output import replacing
from host.quant.encode import encode_weight
from host.schema.image import (
    HASH_BYTES,
    HEADER_BYTES,
    HEADER_DIGEST_OFFSET,
    LEAF_BYTES,
    SECTION_ALIGN,
    SECTION_TABLE_OFFSET,
    VERSION_MAJOR,
    VERSION_MINOR,
    HashId,
    Header,
    Plan,
    Section,
    SectionFlag,
    SectionId,
    State,
    StateKind,
    Tensor,
    align,
)

HASH = HashId.BLAKE2B
"""What images are written with; those of older versions have SHA-256."""

Progress = Callable[[int, int], None]
"""Called with (bytes of weights written, bytes of weights in all)."""


@dataclass(frozen=True)
class Part:
    """A section to be written; ``pieces`` make exactly ``size`` bytes."""

    id: SectionId
    flags: int
    size: int
    pieces: Iterable[bytes]


class LeafHasher:
    """The digest of each LEAF_BYTES of what is fed to it: ``size`` bytes in all."""

    def __init__(self, kind: HashId, size: int) -> None:
        self._kind, self._left = kind, size
        self._digests: list[bytes] = []
        self._open()

    def _open(self) -> None:
        """Which leaf is the last is part of its hash."""
        self._room = min(LEAF_BYTES, self._left)
        self._leaf: Running = leaf_hash(self._kind, len(self._digests), self._room == self._left)

    def update(self, data: bytes | memoryview) -> None:
        """The next bytes of the payload."""
        view = memoryview(data)
        while len(view):
            if not self._room:
                raise AssertionError("there is more payload than was planned")
            taken = min(len(view), self._room)
            self._leaf.update(view[:taken])
            self._room -= taken
            self._left -= taken
            view = view[taken:]
            if self._room == 0:
                self._digests.append(self._leaf.digest())
                self._open()

    def finish(self) -> list[bytes]:
        """The digests, once all bytes were fed."""
        if self._left:
            raise AssertionError(f"{self._left} bytes of the payload were not hashed")
        return self._digests


def write_image(
    path: Path,
    source: Source,
    compiled: Compiled,
    manifest: dict[str, Any],
    progress: Progress | None = None,
    image_version: int = 0,
) -> None:
    """Write the image file. On any failure there is no file at ``path``, or the one that was there before.

    The same source and options give the same bytes. HostError where the file cannot be written.
    """
    parts = _parts(source, compiled, manifest, progress)
    try:
        with replacing(path) as part, part.open("wb") as file:
            _write_parts(file, parts, image_version)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror or error}; choose another place with -o") from error


def image_size(source: Source, compiled: Compiled, manifest: dict[str, Any]) -> int:
    """Bytes of the file that `write_image` would write; no weight is read."""
    sizes = [part.size for part in _parts(source, compiled, manifest, None)]
    payload = _payload_size(sizes)
    hashes = leaf_count(payload) * HASH_BYTES
    return HEADER_BYTES + payload + align(hashes, SECTION_ALIGN)


def _payload_size(sizes: list[int]) -> int:
    """Of all sections up to the hashes."""
    return sum(align(size, SECTION_ALIGN) for size in sizes)


def _write_parts(file: BinaryIO, parts: list[Part], image_version: int) -> None:
    payload_size = _payload_size([part.size for part in parts])
    hasher = LeafHasher(HASH, payload_size)
    table: list[dict[str, int]] = []
    file.seek(HEADER_BYTES)
    at = HEADER_BYTES
    for part in parts:
        table.append({"id": part.id, "flags": part.flags, "offset": at, "size": part.size})
        written = 0
        for piece in part.pieces:
            file.write(piece)
            hasher.update(piece)
            written += len(piece)
        if written != part.size:
            raise AssertionError(f"section {part.id.name} has {written} bytes where {part.size} were planned")
        padding = bytes(align(written, SECTION_ALIGN) - written)
        file.write(padding)
        hasher.update(padding)
        at += written + len(padding)
    hashes = b"".join(hasher.finish())
    table.append({"id": SectionId.HASHES, "flags": SectionFlag.REQUIRED, "offset": at, "size": len(hashes)})
    file.write(hashes.ljust(align(len(hashes), SECTION_ALIGN), b"\0"))
    header = {
        "version_major": VERSION_MAJOR,
        "version_minor": VERSION_MINOR,
        "section_count": len(table),
        "file_size": at + align(len(hashes), SECTION_ALIGN),
        "payload_size": payload_size,
        "root": root_digest(HASH, hashes),
        "image_version": image_version,
        "flags": 0,
        "hash": HASH,
    }
    file.seek(0)
    file.write(header_page(header, table))


def header_page(header: dict[str, Any], table: list[dict[str, int]]) -> bytes:
    """The first HEADER_BYTES: header, section table and the digest of both."""
    page: bytes = Header.build(header)
    page = page.ljust(SECTION_TABLE_OFFSET, b"\0") + b"".join(Section.build(entry) for entry in table)
    page = page.ljust(HEADER_DIGEST_OFFSET, b"\0")
    return page + header_digest(HashId(header["hash"]), page)


def _parts(source: Source, compiled: Compiled, manifest: dict[str, Any], progress: Progress | None) -> list[Part]:
    lowered = compiled.lowered
    names = [spec.name.encode() for spec in lowered.tensors]
    records, name_at = [], 0
    for spec, name in zip(lowered.tensors, names, strict=True):
        records.append(_tensor_record(spec, name_at, len(name)))
        name_at += len(name)
    parts = [
        _part(SectionId.PLAN, Plan.build(compiled.plan), SectionFlag.REQUIRED),
        _part(SectionId.TENSORS, b"".join(records), SectionFlag.REQUIRED),
        _part(SectionId.STATES, b"".join(_state_record(s) for s in lowered.states), SectionFlag.REQUIRED),
        _part(SectionId.PROGRAM, b"".join(lowered.ops), SectionFlag.REQUIRED),
        _part(SectionId.NAMES, b"".join(names)),
        Part(SectionId.WEIGHTS, SectionFlag.REQUIRED, compiled.weight_bytes, _weights(compiled, progress)),
    ]
    if source.tokenizer is not None:
        parts += _text_parts(source.tokenizer)
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    parts.append(_part(SectionId.MANIFEST, text.encode()))
    return parts


_made: list[tuple[Tokenizer, list[Part]]] = []
"""The last tokenizer and its sections: a plan's size, its trials and its image ask for the same ones."""


def _text_parts(tokenizer: Tokenizer) -> list[Part]:
    """What the host and the device need for text."""
    if not _made or _made[0][0] != tokenizer:
        parts = [_part(SectionId.TOKENIZER, tokenizer_section(tokenizer))]
        if tokenizer.chat_template is not None:
            parts.append(_part(SectionId.CHAT, tokenizer.chat_template.encode()))
        with contextlib.suppress(Unsupported):
            parts.append(_part(*text_section(tokenizer)))
        _made[:] = [(replace(tokenizer, special=dict(tokenizer.special)), parts)]
    return _made[0][1]


def _part(section: SectionId, data: bytes, flags: int = 0) -> Part:
    return Part(section, flags, len(data), [data])


def _state_record(state: StateRecord) -> bytes:
    record: bytes = State.build({"kind": StateKind.KV_PAGES} | vars(state))
    return record


def _tensor_record(spec: TensorSpec, name_at: int, name_size: int) -> bytes:
    record: bytes = Tensor.build(
        {
            "format": spec.format.id,
            "layout": spec.layout,
            "rows": spec.rows,
            "cols": spec.cols,
            "offset": spec.offset,
            "size": spec.size,
            "name_offset": name_at,
            "name_size": name_size,
        }
    )
    return record


def _weights(compiled: Compiled, progress: Progress | None) -> Iterator[bytes]:
    done, total = 0, compiled.weight_bytes
    for spec in compiled.tensors:
        if spec.offset > done:
            yield bytes(spec.offset - done)
            done = spec.offset
        for piece in _tensor_pieces(spec):
            yield piece
            done += len(piece)
            if progress is not None:
                progress(done, total)
        if done != spec.offset + spec.size:
            raise AssertionError(f"tensor {spec.name} has {done - spec.offset} bytes where {spec.size} were planned")


def _tensor_pieces(spec: TensorSpec) -> Iterator[bytes]:
    if isinstance(spec.contents, Vector):
        yield spec.format.quantize(spec.contents.values.reshape(1, -1).astype(np.float32)).pack(spec.layout).tobytes()
        return
    for piece in encode_weight(spec.contents, spec.format, spec.layout):
        yield piece.tobytes()


def tokenizer_section(tokenizer: Tokenizer) -> bytes:
    """JSON, compressed: what the host needs to turn text into ids and back."""
    facts: dict[str, object] = {
        "tokenizer.json": tokenizer.json,
        "bos": tokenizer.bos,
        "stop_ids": list(tokenizer.stop_ids),
        "special": tokenizer.special,
        "add_bos": tokenizer.add_bos,
    }
    if tokenizer.prefix:
        facts["prefix"] = list(tokenizer.prefix)
    if tokenizer.ranks is not None:
        facts["ranks"] = list(tokenizer.ranks)
    return zlib.compress(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode(), 9)
