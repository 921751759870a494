# SPDX-License-Identifier: Apache-2.0
"""A GGUF byte by byte: also one whose counts and lengths lie."""

from __future__ import annotations

import struct

STRING, ARRAY, UINT32, INT8 = 8, 9, 4, 1
F32 = 0


def text(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if length is None else length) + value


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(shape: list[int], offset: int = 0, kind: int = F32, name: bytes = b"t") -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(*parts: bytes, entries: int = 0, tensors: int = 0, data: bytes = bytes(256)) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, tensors, entries) + b"".join(parts)
    return head + bytes(-len(head) % 32) + data
