# SPDX-License-Identifier: Apache-2.0
"""An image in parts that mean something, to be changed and sealed again; and the images to begin with (`bases`)."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from construct import Struct

from host.compiler.compile import Options
from host.compiler.passes import PASSES
from host.files.source import Source
from host.image.hashing import header_digest, payload_digests, root_digest
from host.ops import OPS, OpId
from host.schema.formats.bf16 import BF16
from host.schema.formats.f32 import F32
from host.schema.formats.q4 import Q4
from host.schema.formats.q8 import Q8
from host.schema.image import (
    HEADER_BYTES,
    HEADER_DIGEST_OFFSET,
    MAGIC,
    MAX_SECTIONS,
    OP_BYTES,
    SECTION_ALIGN,
    SECTION_TABLE_OFFSET,
    VERSION_MAJOR,
    Bpe,
    Format,
    HashId,
    Layout,
    Operand,
    Overflow,
    Plan,
    SectionId,
    State,
    Tensor,
    align,
)
from host.schema.tokens import Tokens
from tests.fuzz.images import SMALL, WRITERS
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama

OP_HEAD = 8
OP_IDS = {int(op): op for op in OpId}
TENSOR_BYTES, STATE_BYTES = Tensor.sizeof(), State.sizeof()
SECTION = struct.Struct("<IIQQ8x")
UNSEALED = 0.01
"""Of the mutants: some hash is left wrong."""


def offsets(record: Struct) -> dict[str, tuple[int, bool]]:
    """Where each field of a record stands, and whether it is an operand."""
    at, found = 0, {}
    for part in record.subcons:
        if part.name:
            found[part.name] = (at, part.subcon is Operand)
        at += part.sizeof()
    return found


FIELDS = {id_: offsets(op.fields) for id_, op in OPS.items()}
OPERANDS = {op: [OP_HEAD + at for at, operand in fields.values() if operand] for op, fields in FIELDS.items()}
SCALARS = {op: [OP_HEAD + at for at, operand in fields.values() if not operand] for op, fields in FIELDS.items()}
PLAN_AT = {name: at for name, (at, _) in offsets(Plan).items()}
STATE_AT = {name: at for name, (at, _) in offsets(State).items()}
TENSOR_AT = {name: at for name, (at, _) in offsets(Tensor).items()}
TOKENS_AT = {name: at for name, (at, _) in offsets(Tokens).items()}
BPE_AT = {name: at for name, (at, _) in offsets(Bpe).items()}


@dataclass
class Draft:
    """An image in parts: sections in order as [id, flags, contents], and what stands behind them."""

    sections: list[tuple[int, int, bytes]]
    version: int = 0
    tail: bytes = b""
    header: dict[str, int] = field(default_factory=dict)

    def find(self, section: int) -> int:
        """Index of a section; -1 where it is missing."""
        return next((i for i, part in enumerate(self.sections) if part[0] == section), -1)

    def get(self, section: int) -> bytearray:
        """A copy of a section's contents; empty where it is missing."""
        index = self.find(section)
        return bytearray(self.sections[index][2]) if index >= 0 else bytearray()

    def put(self, section: int, data: bytes | bytearray) -> None:
        """Other contents for a section that is there."""
        index = self.find(section)
        if index >= 0:
            self.sections[index] = (section, self.sections[index][1], bytes(data))

    def seal(self, rng: random.Random) -> bytes:
        """The file: all hashes right, or, seldom, not."""
        at, table, body = HEADER_BYTES, b"", []
        for section, flags, data in self.sections:
            table += SECTION.pack(section, flags, at, len(data))
            padded = align(len(data), SECTION_ALIGN)
            body.append(data.ljust(padded, b"\0"))
            at += padded
        payload = b"".join(body)
        kind = known_hash(self.header.get("hash", HashId.BLAKE2B))
        hashes = b"".join(payload_digests(kind, payload))
        table += SECTION.pack(SectionId.HASHES, 1, at, len(hashes))
        end = hashes.ljust(SECTION_ALIGN, b"\0") if not self.tail else (hashes + self.tail)
        end = end.ljust(align(len(end), SECTION_ALIGN), b"\0")
        header = {
            "version_minor": 0,
            "section_count": len(table) // SECTION.size,
            "file_size": at + len(end),
            "payload_size": len(payload),
            "image_version": self.version,
            "flags": 0,
            "hash": kind,
        } | self.header
        page = build_header(header, root_digest(kind, hashes), table)
        if rng.random() < UNSEALED:
            broken = bytearray(page + payload + end)
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            return bytes(broken)
        return page + payload + end


def known_hash(method: int) -> HashId:
    """The hash of a number; for one that nobody knows any will do."""
    return HashId(method) if method in set(HashId) else HashId.BLAKE2B


def build_header(header: dict[str, int], root: bytes, table: bytes) -> bytes:
    """The header page as header_page() of the writer makes it, and faster."""
    names = ("version_minor", "section_count", "file_size", "payload_size", "image_version", "flags", "hash")
    minor, count, size, payload, version, flags, method = (header[name] & 0xFFFFFFFF for name in names)
    page = MAGIC + struct.pack("<HHIQQ", VERSION_MAJOR, minor & 0xFFFF, count, size, payload)
    page += root + struct.pack("<III", version, flags, method)
    page = page.ljust(SECTION_TABLE_OFFSET, b"\0") + table[: MAX_SECTIONS * SECTION.size]
    page = page.ljust(HEADER_DIGEST_OFFSET, b"\0")
    return page + header_digest(known_hash(method), page)


def take_apart(data: bytes) -> Draft:
    """The parts of an image that a writer made."""
    count = struct.unpack_from("<I", data, len(MAGIC) + 4)[0]
    sections = []
    for i in range(count):
        section, flags, offset, size = struct.unpack_from("<IIQQ", data, 128 + 32 * i)
        if section not in (SectionId.HASHES, SectionId.SIGNATURE):
            sections.append((section, flags, data[offset : offset + size]))
    return Draft(sections)


# ---- words in records ----


def get(data: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def put(data: bytearray, at: int, value: int) -> None:
    if at + 4 <= len(data):
        struct.pack_into("<I", data, at, value & 0xFFFFFFFF)


def op_id(program: bytes | bytearray, index: int) -> OpId:
    found = struct.unpack_from("<H", program, index * OP_BYTES)[0]
    return OP_IDS.get(found, OpId.EMBED)


def count_ops(program: bytes | bytearray) -> int:
    return len(program) // OP_BYTES


def set_program(draft: Draft, program: bytes | bytearray) -> None:
    """With the plan's count."""
    draft.put(SectionId.PROGRAM, program)
    set_plan(draft, op_count=count_ops(program))


def set_plan(draft: Draft, **fields: int) -> None:
    plan = draft.get(SectionId.PLAN)
    for name, value in fields.items():
        struct.pack_into("<Q" if name in ("arena_bytes", "runtime_bytes") else "<I", plan, PLAN_AT[name], value)
    draft.put(SectionId.PLAN, plan)


def some_operand(rng: random.Random, program: bytearray) -> int:
    """Where one operand of the program stands."""
    index = rng.randrange(count_ops(program))
    return index * OP_BYTES + rng.choice(OPERANDS[op_id(program, index)])


def all_operands(program: bytearray) -> list[int]:
    return [i * OP_BYTES + at for i in range(count_ops(program)) for at in OPERANDS[op_id(program, i)]]


def bases(folder: Path) -> list[Path]:
    """The images to begin with: those of tests/fuzz/images.py, and wider contexts, windows, all formats and caches."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [write(folder / f"{name}.hsp") for name, write in WRITERS.items()]
    small = SMALL | {"max_position_embeddings": 2048, "vocab_size": 96}
    wide = small | {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2}
    gpt2 = {"n_embd": 32, "n_inner": 32, "n_layer": 1, "n_head": 2, "n_positions": 512, "vocab_size": 96}

    def add(name: str, source: Source, **options: Any) -> None:
        paths.append(folder / f"{name}.hsp")
        tiny_image(paths[-1], source, Options(**options))

    add("far", tiny_llama(**small), weights=Q8, context=320, sessions=2, max_rows=64, layout=Layout.RVV)
    slide = {"overflow": Overflow.SLIDE, "sinks": 5, "layout": Layout.SWAR}
    add("slide", tiny_llama(**wide), weights=Q4, context=280, sessions=2, max_rows=40, **slide)
    add("f32", tiny_llama(**small), weights=F32, context=300, sessions=2, max_rows=40, kv=Format.F32)
    add("bf16", tiny_gpt2(**gpt2), weights=BF16, context=100, sessions=3, max_rows=20)
    swar = {"layout": Layout.SWAR, "without": tuple(PASSES)}
    add("q8", tiny_llama(**wide), weights=Q8, context=70, sessions=2, max_rows=12, **swar)
    return paths
