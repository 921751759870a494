# SPDX-License-Identifier: Apache-2.0
"""A GGUF file, opened without trust: every count, length and offset is checked against the file before it is used.

The `gguf` library names the types and dequantizes them. Its reader is not used: it believes the counts in the file (one
hostile length makes it loop for hours), and it takes seconds for a vocabulary that this one reads in a tenth of one.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType
from gguf.constants import GGUF_DEFAULT_ALIGNMENT

from host.errors import SourceError
from host.files.fields import refuse_pointer
from host.files.tensor import StoredTensor, block_size
from host.foreign import open_regular
from host.words import shown

MAX_ENTRIES = 1 << 16
MAX_ARRAY = 1 << 20
MAX_SMALL_ARRAY = 1 << 12
"""Longer arrays are kept only for the tokenizer; nothing else that is read is an array."""
MAX_TEXT = 16 << 20
MAX_KEPT = 1 << 29
"""Bytes that all metadata may take in memory. Known models keep 150 MB, most of it their merges."""
OBJECT_BYTES = 64
"""Of a Python object in a list, without a text's characters."""
MAX_KEY = 1 << 12
MAX_ALIGNMENT = 1 << 20
MAX_ELEMENTS = 1 << 40

KEPT_ARRAYS = "tokenizer.ggml."

SCALARS: dict[GGUFValueType, str] = {
    GGUFValueType.UINT8: "<u1",
    GGUFValueType.INT8: "<i1",
    GGUFValueType.UINT16: "<u2",
    GGUFValueType.INT16: "<i2",
    GGUFValueType.UINT32: "<u4",
    GGUFValueType.INT32: "<i4",
    GGUFValueType.FLOAT32: "<f4",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "<u8",
    GGUFValueType.INT64: "<i8",
    GGUFValueType.FLOAT64: "<f8",
}


@dataclass
class _Cursor:
    """A position in the file that never passes its end."""

    data: mmap.mmap
    name: str
    at: int = 0
    kept: int = 0

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if count > len(self.data) - self.at:
            raise SourceError(
                f"{self.name}: truncated: {count} bytes wanted at offset {self.at}, the file ends at {len(self.data)}; "
                "copy or download it again"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        """One little-endian integer of ``size`` bytes."""
        return int.from_bytes(self.take(size), "little")

    def count(self, what: str, limit: int) -> int:
        """A 64-bit count of at most ``limit``."""
        value = self.number(8)
        if value > limit:
            raise SourceError(f"{self.name}: {value} {what}, at most {limit} are allowed; the file is damaged")
        return value

    def keep(self, size: int) -> None:
        """Count bytes that stay in memory. Raises SourceError where all of it is more than metadata take."""
        self.kept += size
        if self.kept > MAX_KEPT:
            raise SourceError(f"{self.name}: its metadata take more than {MAX_KEPT >> 20} MiB; the file is damaged")

    def _text_end(self, limit: int) -> int:
        """Where the text at this position ends; it begins 8 bytes on. Not by take(): a vocabulary has 500,000."""
        start = self.at + 8
        end = start + int.from_bytes(self.data[self.at : start], "little")
        if end > len(self.data) or end - start > limit:
            self.take(self.count("bytes in a text", limit))
        return end

    def skip_text(self, limit: int) -> None:
        """Pass over a text without reading it."""
        self.at = self._text_end(limit)

    def text(self, limit: int) -> str:
        """A length and so many bytes of UTF-8; other bytes are kept as surrogates."""
        start, end = self.at + 8, self._text_end(limit)
        self.keep(OBJECT_BYTES + end - start)
        self.at = end
        return self.data[start:end].decode("utf-8", errors="surrogateescape")

    def value_type(self) -> GGUFValueType:
        """The type of a metadata value."""
        code = self.number(4)
        try:
            return GGUFValueType(code)
        except ValueError:
            raise SourceError(f"{self.name}: unknown metadata type {code} at offset {self.at - 4}") from None


@dataclass
class GgufFile:
    """An opened file: metadata by key, tensors by their name in the file (row-major shapes)."""

    path: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, StoredTensor] = field(default_factory=dict)


def open_gguf(path: Path) -> GgufFile:
    """Read the metadata and the table of tensors; tensor data stay in the file. Raises SourceError on anything odd."""
    refuse_pointer(path)
    try:
        with open_regular(path) as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {shown(str(path))}: {error}; a GGUF file is expected") from error
    cursor = _Cursor(data, shown(path.name))
    tensor_count, entry_count = _read_head(cursor)
    metadata: dict[str, Any] = {}
    for _ in range(entry_count):
        key = cursor.text(MAX_KEY)
        if key in metadata:
            raise SourceError(f"{cursor.name}: metadata {key[:80]!r} stands there twice; the file is damaged")
        metadata[key] = _read_value(cursor, cursor.value_type(), key.startswith(KEPT_ARRAYS))
    infos = [_read_tensor(cursor) for _ in range(tensor_count)]
    return GgufFile(path, metadata, _place_tensors(cursor, infos, _alignment(metadata, cursor.name)))


def _read_head(cursor: _Cursor) -> tuple[int, int]:
    """Magic, version and the two counts."""
    magic = cursor.take(4)
    if magic != b"GGUF":
        raise SourceError(f"{cursor.name}: starts with {magic!r}, not with 'GGUF'; this is not a GGUF file")
    version = cursor.number(4)
    if version & 0xFFFF == 0:
        raise SourceError(f"{cursor.name}: a big-endian GGUF; convert it for little-endian machines first")
    if version not in (2, 3):
        raise SourceError(f"{cursor.name}: GGUF version {version}; versions 2 and 3 are read, convert the model again")
    return cursor.count("tensors", MAX_ENTRIES), cursor.count("metadata entries", MAX_ENTRIES)


def _read_value(cursor: _Cursor, kind: GGUFValueType, wanted: bool) -> Any:
    """One metadata value; arrays become lists, long ones only where ``wanted``, else `Skipped`.

    Arrays of arrays do not occur in models and are refused.
    """
    if kind == GGUFValueType.STRING:
        return cursor.text(MAX_TEXT)
    if kind in SCALARS:
        cursor.keep(OBJECT_BYTES)
        dtype = np.dtype(SCALARS[kind])
        return np.frombuffer(cursor.take(dtype.itemsize), dtype)[0].item()
    item = cursor.value_type()
    count = cursor.count("elements in an array", MAX_ARRAY)
    if item != GGUFValueType.STRING and item not in SCALARS:
        raise SourceError(f"{cursor.name}: a metadata array of {item.name}; the file is damaged")
    if count > MAX_SMALL_ARRAY and not wanted:
        return _skip_array(cursor, item, count)
    if item == GGUFValueType.STRING:
        return [cursor.text(MAX_TEXT) for _ in range(count)]
    cursor.keep(count * OBJECT_BYTES)
    dtype = np.dtype(SCALARS[item])
    return np.frombuffer(cursor.take(count * dtype.itemsize), dtype).tolist()


@dataclass(frozen=True)
class Skipped:
    """An array that nothing here reads, by its length."""

    count: int


def _skip_array(cursor: _Cursor, item: GGUFValueType, count: int) -> Skipped:
    if item == GGUFValueType.STRING:
        for _ in range(count):
            cursor.skip_text(MAX_TEXT)
    else:
        size = count * np.dtype(SCALARS[item]).itemsize
        if size > len(cursor.data) - cursor.at:
            cursor.take(size)
        cursor.at += size
    return Skipped(count)


@dataclass(frozen=True)
class _Info:
    """A line of the tensor table: shape row-major, offset from the start of the data."""

    name: str
    kind: str
    shape: tuple[int, ...]
    offset: int
    size: int


def _read_tensor(cursor: _Cursor) -> _Info:
    """One line of the tensor table, its size computed from shape and type."""
    name = cursor.text(MAX_KEY)
    rank = cursor.number(4)
    if not 1 <= rank <= 4:
        raise SourceError(f"{cursor.name}: tensor {name[:80]!r} has {rank} dimensions, 1 to 4 are possible; damaged")
    *lengths, code, offset = struct.unpack(f"<{rank}QIQ", cursor.take(8 * rank + 12))
    shape = tuple(lengths[::-1])
    try:
        kind = GGMLQuantizationType(code).name
        per_block, block_bytes = block_size(kind)
    except (ValueError, KeyError):
        raise SourceError(
            f"{cursor.name}: tensor {name[:80]!r} has type {code}, which the gguf library cannot dequantize; "
            "take a GGUF with a common quantization such as Q4_1, Q8_0 or Q4_K"
        ) from None
    elements = 1
    for length in shape:
        elements *= length
        if length == 0 or elements > MAX_ELEMENTS:
            raise SourceError(f"{cursor.name}: tensor {name[:80]!r} has the shape {shape}; the file is damaged")
    if shape[-1] % per_block:
        raise SourceError(f"{cursor.name}: tensor {name[:80]!r}: rows of {shape[-1]} are no whole {kind} blocks")
    return _Info(name, kind, shape, offset, elements // per_block * block_bytes)


def _alignment(metadata: Mapping[str, Any], name: str) -> int:
    """Alignment of tensor data, a power of two."""
    value = metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
    if not isinstance(value, int) or not 1 <= value <= MAX_ALIGNMENT or value & (value - 1):
        raise SourceError(f"{name}: general.alignment is {str(value)[:40]}, not a power of two; the file is damaged")
    return value


def _place_tensors(cursor: _Cursor, infos: list[_Info], alignment: int) -> dict[str, StoredTensor]:
    """Check that every tensor lies inside the file, aligned and apart from the others."""
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, StoredTensor] = {}
    end, before = 0, ""
    whole = np.frombuffer(cursor.data, np.uint8)
    for info in sorted(infos, key=lambda each: each.offset):
        if info.name in tensors:
            raise SourceError(f"{cursor.name}: tensor {info.name[:80]!r} stands there twice; the file is damaged")
        if info.offset % alignment:
            raise SourceError(f"{cursor.name}: tensor {info.name[:80]!r} lies at {info.offset}, not aligned; damaged")
        if info.offset < end:
            raise SourceError(f"{cursor.name}: tensors {before[:80]!r} and {info.name[:80]!r} overlap; damaged")
        end, before = info.offset + info.size, info.name
        if start + end > len(whole):
            raise SourceError(
                f"{cursor.name}: truncated: tensor {info.name[:80]!r} ends at {start + end}, the file at {len(whole)}; "
                "copy or download it again"
            )
        raw = whole[start + info.offset : start + end]
        tensors[info.name] = StoredTensor(info.name, info.kind, info.shape, raw)
    return tensors
