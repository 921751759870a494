# SPDX-License-Identifier: Apache-2.0
"""Images to be broken: edit the bytes of one, then seal it again with every hash correct."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from construct import Container, Struct

from host.image.hashing import header_digest, payload_digests, root_digest
from host.ops import OPS, OpId
from host.schema.image import (
    HASH_BYTES,
    HEADER_BYTES,
    HEADER_DIGEST_OFFSET,
    OP_BYTES,
    SECTION_TABLE_OFFSET,
    HashId,
    Header,
    OpHead,
    Plan,
    Section,
    SectionId,
    State,
    Tensor,
)

ROOT_OFFSET = 32


class ImageEditor:
    """The bytes of an image with its parts by name. ``sealed()`` gives them with all hashes recomputed."""

    def __init__(self, image: bytes, sections: dict[int, tuple[int, int]] | None = None) -> None:
        self.data = bytearray(image)
        self.sections = sections or {entry.id: (entry.offset, entry.size) for entry in self.table()}

    def table(self) -> list[Container[Any]]:
        count = Header.parse(bytes(self.data)).section_count
        return [Section.parse(bytes(self.data[self.entry(i) :])) for i in range(count)]

    @staticmethod
    def entry(index: int) -> int:
        """Offset of a section's entry in the table."""
        return SECTION_TABLE_OFFSET + index * int(Section.sizeof())

    def edit(self, struct: Struct, offset: int, change: Callable[[Container[Any]], None]) -> ImageEditor:
        """Parse ``struct`` at ``offset``, let ``change`` set its fields, and write it back."""
        values = struct.parse(bytes(self.data[offset : offset + struct.sizeof()]))
        change(values)
        self.data[offset : offset + struct.sizeof()] = struct.build(values)
        return self

    def set(self, struct: Struct, at: int, /, **fields: Any) -> ImageEditor:
        return self.edit(struct, at, lambda values: values.update(fields))

    def header(self, **fields: Any) -> ImageEditor:
        return self.set(Header, 0, **fields)

    def section(self, id_: SectionId, /, **fields: Any) -> ImageEditor:
        index = [entry.id for entry in self.table()].index(id_)
        return self.set(Section, self.entry(index), **fields)

    def plan(self, **fields: Any) -> ImageEditor:
        return self.set(Plan, self.sections[SectionId.PLAN][0], **fields)

    def read_plan(self) -> Container[Any]:
        return Plan.parse(bytes(self.data[self.sections[SectionId.PLAN][0] :]))

    def tensor(self, index: int, /, **fields: Any) -> ImageEditor:
        return self.set(Tensor, self.sections[SectionId.TENSORS][0] + index * Tensor.sizeof(), **fields)

    def state(self, index: int, /, **fields: Any) -> ImageEditor:
        return self.set(State, self.sections[SectionId.STATES][0] + index * State.sizeof(), **fields)

    def op_offset(self, index: int) -> int:
        return self.sections[SectionId.PROGRAM][0] + index * OP_BYTES

    def op_ids(self) -> list[OpId]:
        count = self.sections[SectionId.PROGRAM][1] // OP_BYTES
        return [OpId(OpHead.parse(bytes(self.data[self.op_offset(i) :])).id) for i in range(count)]

    def read_op(self, index: int) -> Container[Any]:
        struct = OPS[self.op_ids()[index]].fields
        return struct.parse(bytes(self.data[self.op_offset(index) + OpHead.sizeof() :]))

    def op(self, id_: OpId, nth: int = 0, **fields: Any) -> ImageEditor:
        """Set fields of the nth op of a kind; a dict for an operand changes only what it names."""

        def change(values: Container[Any]) -> None:
            for name, value in fields.items():
                values[name].update(value) if isinstance(value, dict) else values.update({name: value})

        return self.edit(OPS[id_].fields, self.op_offset(self.find(id_, nth)) + OpHead.sizeof(), change)

    def op_head(self, index: int, /, **fields: Any) -> ImageEditor:
        return self.set(OpHead, self.op_offset(index), **fields)

    def find(self, id_: OpId, nth: int = 0) -> int:
        """Index of the nth op of a kind."""
        return [i for i, found in enumerate(self.op_ids()) if found == id_][nth]

    @property
    def hash(self) -> HashId:
        """The header's; for one that nobody knows any will do."""
        named = Header.parse(bytes(self.data)).hash
        return HashId(named) if named in set(HashId) else HashId.BLAKE2B

    def sealed(self) -> bytes:
        """The image with leaves, root and header digest made to match its bytes."""
        hashes, _ = self.sections[SectionId.HASHES]
        payload = bytes(self.data[HEADER_BYTES:hashes])
        digests = b"".join(payload_digests(self.hash, payload))
        self.data[hashes : hashes + len(digests)] = digests
        self.data[ROOT_OFFSET : ROOT_OFFSET + HASH_BYTES] = root_digest(self.hash, digests)
        return self.resealed_header()

    def resealed_header(self) -> bytes:
        """The image with only the header's own digest made to match."""
        digest = header_digest(self.hash, bytes(self.data[:HEADER_DIGEST_OFFSET]))
        self.data[HEADER_DIGEST_OFFSET:HEADER_BYTES] = digest
        return bytes(self.data)
