# SPDX-License-Identifier: Apache-2.0
"""Reading an image: everything checked that a host needs to rely on, and the tokenizer, template and facts in it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from construct import ConstructError, Container, Struct

from host.errors import ImageError
from host.files.fields import is_unicode
from host.files.source import Tokenizer
from host.foreign import open_regular, parse_json
from host.image.hashing import header_digest, leaf_count, leaf_digest, root_digest
from host.ir.op import plain
from host.ir.program import OpEntry, TensorEntry
from host.ops import decode_op
from host.schema.formats import format_of
from host.schema.image import (
    HASH_BYTES,
    HEADER_BYTES,
    HEADER_DIGEST_OFFSET,
    LEAF_BYTES,
    MAGIC,
    MAX_SECTIONS,
    NO_TENSOR,
    OP_BYTES,
    SECTION_ALIGN,
    SECTION_TABLE_OFFSET,
    VERSION_MAJOR,
    Format,
    HashId,
    Header,
    Layout,
    OutputKind,
    Overflow,
    Plan,
    Section,
    SectionFlag,
    SectionId,
    Signature,
    State,
    StateKind,
    Tensor,
    align,
)
from host.schema.weights import WeightFormat
from host.tokens.tokenizer import MAX_PREFIX, MAX_STOP_IDS
from host.words import shown

REQUIRED = (
    SectionId.PLAN,
    SectionId.TENSORS,
    SectionId.STATES,
    SectionId.PROGRAM,
    SectionId.WEIGHTS,
    SectionId.HASHES,
)
MAX_TOKENIZER_BYTES = 1 << 28
"""Decompressed; the largest known tokenizer.json has some 35 MB."""


class Image:
    """An image file whose header, tables and structure have been checked; contents are read when asked for.

    ``verify()`` checks the hashes of the contents.
    """

    def __init__(self, path: Path) -> None:
        """Open and check. ImageError says what is wrong with the file."""
        self.path = path
        try:
            with open_regular(path, ImageError, "image") as file:
                self._size = os.fstat(file.fileno()).st_size
                page = file.read(HEADER_BYTES)
        except ImageError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            name = shown(str(path))
            raise ImageError(
                f"{name}: there is no such image; make it with: host pack MODEL --board BOARD -o {name}"
            ) from error
        except OSError as error:
            raise ImageError(f"cannot read image {shown(str(path))}: {error.strerror or error}") from error
        self.header = self._read_header(page)
        self.sections = self._read_sections(page)
        self._check_root()
        self._check_tail()
        self.plan = self._read_plan()
        self.tensors = self._read_tensors()
        self.states = self._read_states()
        self.ops = self._read_ops()

    def _fail(self, what: str, hint: str = "copy or pack the image again") -> ImageError:
        return ImageError(f"{self.path}: {what}; {hint}")

    def _parse(self, struct: Struct, data: bytes, what: str) -> Container:
        try:
            return struct.parse(data)
        except ConstructError as error:
            raise self._fail(f"the {what} is damaged") from error

    def _read_header(self, page: bytes) -> dict[str, Any]:
        if len(page) < len(MAGIC) or page[: len(MAGIC)] != MAGIC:
            gguf = page.startswith(b"GGUF")
            seen = "a GGUF" if gguf else "it is empty" if not page else f"it begins with {page[:8].hex(' ')}"
            model = self.path if gguf else "MODEL"
            raise self._fail(f"this is no model image ({seen})", f"make one with: host pack {model} --board BOARD")
        if len(page) < HEADER_BYTES:
            raise self._fail(f"the image is truncated: {len(page)} bytes, not even a header")
        header: dict[str, Any] = plain(self._parse(Header, page, "header"))
        self._check_versions(header)
        if header_digest(HashId(header["hash"]), page[:HEADER_DIGEST_OFFSET]) != page[HEADER_DIGEST_OFFSET:]:
            raise self._fail("the header is damaged (its digest does not match)")
        if header["file_size"] > self._size:
            raise self._fail(f"the image is truncated: {self._size} of {header['file_size']} bytes")
        if header["section_count"] > MAX_SECTIONS:
            raise self._fail("the header contradicts itself")
        table = page[SECTION_TABLE_OFFSET + header["section_count"] * Section.sizeof() : HEADER_DIGEST_OFFSET]
        if header["flags"] or any(page[Header.sizeof() : SECTION_TABLE_OFFSET]) or any(table):
            raise self._newer("the header has fields that are not known here")
        return header

    def _check_versions(self, header: dict[str, Any]) -> None:
        """Before the digest, for another major version may keep it elsewhere, and another hash has another one."""
        major = header["version_major"]
        if major < VERSION_MAJOR:
            raise self._fail(
                f"the image has the old format version {major}, this program reads {VERSION_MAJOR}",
                "pack the model again: host pack MODEL --board BOARD",
            )
        if major > VERSION_MAJOR:
            raise self._newer(f"the image has format version {major}, this program reads {VERSION_MAJOR}")
        if header["hash"] not in set(HashId):
            raise self._newer(f"the image is hashed by method {header['hash']}, which is not known here")

    def _newer(self, what: str) -> ImageError:
        """For what a later version of the format may bring."""
        return self._fail(what, "use a newer version of this program")

    def _read_sections(self, page: bytes) -> dict[SectionId, tuple[int, int]]:
        found: dict[SectionId, tuple[int, int]] = {}
        end = HEADER_BYTES
        for index in range(self.header["section_count"]):
            data = page[SECTION_TABLE_OFFSET + index * Section.sizeof() :]
            entry = self._record(Section, data, f"entry {index} of the section table")
            if entry.flags & ~int(SectionFlag.REQUIRED):
                raise self._newer(f"section {entry.id} has flags that are not known here")
            if entry.offset != align(end, SECTION_ALIGN) or entry.offset + entry.size > self.header["file_size"]:
                raise self._fail(f"section {entry.id} lies at a wrong place")
            end = entry.offset + entry.size
            if SectionId.HASHES in found and entry.id != SectionId.SIGNATURE:
                raise self._fail(f"section {entry.id} lies behind the hashes, which do not cover it")
            if entry.id not in set(SectionId):
                if entry.flags & SectionFlag.REQUIRED:
                    raise self._newer(f"section {entry.id} is unknown")
                continue
            if SectionId(entry.id) in found:
                raise self._fail(f"section {SectionId(entry.id).name} is there twice")
            found[SectionId(entry.id)] = (entry.offset, entry.size)
        for section in REQUIRED:
            if section not in found:
                raise self._fail(f"section {section.name} is missing")
        return found

    def section(self, section: SectionId) -> bytes:
        """The contents of a section; ImageError if there is none."""
        if section not in self.sections:
            raise self._fail(f"the image has no section {section.name}", "pack the model again")
        offset, size = self.sections[section]
        return self._read(offset, size)

    def _read(self, offset: int, size: int) -> bytes:
        with open_regular(self.path, ImageError) as file:
            try:
                file.seek(offset)
                data = file.read(size)
            except OSError as error:
                raise self._fail(f"reading failed: {error.strerror}") from error
        if len(data) != size:
            raise self._fail("the image became shorter while it was read")
        return data

    def _check_root(self) -> None:
        hashes = self.section(SectionId.HASHES)
        payload = self.header["payload_size"]
        offset, _ = self.sections[SectionId.HASHES]
        if HEADER_BYTES + payload != offset or len(hashes) != leaf_count(payload) * HASH_BYTES:
            raise self._fail("the table of hashes does not cover the contents")
        if root_digest(self.hash, hashes) != self.header["root"]:
            raise self._fail("the table of hashes is damaged")

    def _check_tail(self) -> None:
        """Nothing vouches for what stands behind the hashes: there are zeros, and a signature of its own size."""
        at, size = self.sections[SectionId.HASHES]
        end, gaps = at + size, []
        signature, signed = self.sections.get(SectionId.SIGNATURE, (0, 0))
        if signature > at:
            if signed != Signature.sizeof():
                raise self._fail(f"its signature has {signed} bytes instead of {Signature.sizeof()}")
            gaps.append((end, signature))
            end = signature + signed
        gaps.append((end, self._size))
        for start, stop in gaps:
            for piece in range(start, stop, LEAF_BYTES):
                if any(self._read(piece, min(LEAF_BYTES, stop - piece))):
                    raise self._fail("there are bytes behind the hashes that nothing vouches for")

    @property
    def hash(self) -> HashId:
        """What the image's hashes are."""
        return HashId(self.header["hash"])

    @property
    def root(self) -> str:
        """The hash root, hexadecimal: the image's identity."""
        return bytes(self.header["root"]).hex()

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Hash all contents; ImageError names the sections that a damaged leaf lies in."""
        hashes = self.section(SectionId.HASHES)
        payload = self.header["payload_size"]
        for leaf, start in enumerate(range(0, payload, LEAF_BYTES)):
            size = min(LEAF_BYTES, payload - start)
            digest = leaf_digest(self.hash, leaf, start + size == payload, self._read(HEADER_BYTES + start, size))
            if digest != hashes[leaf * HASH_BYTES : (leaf + 1) * HASH_BYTES]:
                names = self._names_within(HEADER_BYTES + start, size)
                raise self._fail(f"the contents do not match their hash near byte {HEADER_BYTES + start} ({names})")
            if progress is not None:
                progress(start + size, payload)

    def _names_within(self, start: int, size: int) -> str:
        touched = [s.name for s, (at, n) in self.sections.items() if at < start + size and start < at + n]
        return ", ".join(touched)

    def _table(self, section: SectionId, record: int, count: int) -> list[bytes]:
        data = self.section(section)
        if len(data) != record * count:
            raise self._fail(f"section {section.name} has {len(data)} bytes where the plan says {record * count}")
        return [data[i * record : (i + 1) * record] for i in range(count)]

    def _record(self, struct: Struct, data: bytes, what: str) -> Container:
        """A record whose reserved bytes are 0: else it has fields of a later version."""
        try:
            return struct.parse(data)
        except ConstructError as error:
            raise self._newer(f"{what} has fields that are not known here") from error

    def _read_plan(self) -> dict[str, Any]:
        data = self.section(SectionId.PLAN)
        if not Plan.sizeof() <= len(data) <= SECTION_ALIGN:
            raise self._fail(f"the plan has {len(data)} bytes, at least {Plan.sizeof()} are expected")
        plan: dict[str, Any] = plain(Plan.parse(data))
        plan["output_kind"] = self._enum(OutputKind, plan["output_kind"], "the plan")
        if plan["output_whole_step"] > 1 or plan["flags"] or any(data[Plan.sizeof() :]):
            raise self._newer("the plan has fields that are not known here")
        if plan["output_kind"] == OutputKind.LOGITS and plan["output_width"] != plan["vocab"]:
            raise self._fail(f"the plan has logits of {plan['output_width']} tokens, and {plan['vocab']} in all")
        plan["overflow"] = self._enum(Overflow, plan["overflow"], "the plan")
        return plan

    def _enum(self, enum: type[IntEnum], value: int, where: str) -> Any:
        if value not in set(enum):
            raise self._newer(f"{where} has the unknown {enum.__name__} {value}")
        return enum(value)

    def _format(self, number: int, where: str) -> WeightFormat:
        try:
            return format_of(number)
        except KeyError:
            raise self._newer(f"{where} has the unknown weight format {number}") from None

    def _read_tensors(self) -> list[TensorEntry]:
        names = self.section(SectionId.NAMES) if SectionId.NAMES in self.sections else b""
        limit = self.sections[SectionId.WEIGHTS][1]
        found = []
        for index, data in enumerate(self._table(SectionId.TENSORS, Tensor.sizeof(), self.plan["tensor_count"])):
            t = self._record(Tensor, data, f"tensor {index}")
            name = names[t.name_offset : t.name_offset + t.name_size].decode(errors="replace") or f"tensor {index}"
            where = f"tensor {index} ({name})"
            fmt, layout = self._format(t.format, where), self._enum(Layout, t.layout, where)
            if layout not in fmt.layouts:
                raise self._newer(f"{where} has {fmt.name} in layout {layout.name}, which is not known here")
            if t.size != fmt.tensor_bytes(layout, t.rows, t.cols) or t.offset + t.size > limit:
                raise self._fail(f"{where} has a wrong size or place")
            found.append(TensorEntry(index, name, fmt, layout, t.rows, t.cols, t.offset, t.size))
        return found

    def _read_states(self) -> list[dict[str, Any]]:
        records = self._table(SectionId.STATES, State.sizeof(), self.plan["state_count"])
        return [self._read_state(data, f"state {index}") for index, data in enumerate(records)]

    def _read_state(self, data: bytes, where: str) -> dict[str, Any]:
        self._enum(StateKind, State.kind.parse(data), where)
        state: dict[str, Any] = plain(self._record(State, data, where))
        kinds = {"kind": StateKind(state["kind"]), "format": self._enum(Format, state["format"], where)}
        del state["reserved"]
        return state | kinds

    def _read_ops(self) -> list[OpEntry]:
        found = []
        for index, data in enumerate(self._table(SectionId.PROGRAM, OP_BYTES, self.plan["op_count"])):
            try:
                found.append(decode_op(index, data))
            except ValueError as error:
                raise self._fail(f"op {index}: {error}", "use a newer version of this program") from error
        return found

    def tensor_data(self, index: int) -> npt.NDArray[np.uint8]:
        """The bytes of a tensor."""
        entry = self.tensors[index]
        return np.frombuffer(self._read(self.sections[SectionId.WEIGHTS][0] + entry.offset, entry.size), np.uint8)

    def tensor_float32(self, index: int) -> npt.NDArray[np.float32]:
        """What a tensor stands for, f32 [rows][cols]."""
        t = self.tensors[index]
        return t.format.unpack(self.tensor_data(index), t.layout, t.rows, t.cols).float32(t.cols)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Source, licence, quantization, options, tool version; empty when the image has none."""
        if SectionId.MANIFEST not in self.sections:
            return {}
        try:
            manifest = parse_json(self.section(SectionId.MANIFEST))
        except (ValueError, RecursionError) as error:
            raise self._fail("the manifest is damaged") from error
        if not isinstance(manifest, dict):
            raise self._fail("the manifest is damaged")
        return manifest

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer and chat template; ImageError when the image has none or it is damaged."""
        packed = self.section(SectionId.TOKENIZER)
        try:
            stream = zlib.decompressobj()
            text = stream.decompress(packed, MAX_TOKENIZER_BYTES)
            if stream.unconsumed_tail:
                raise ValueError("too large")
            facts = parse_json(text, MAX_TOKENIZER_BYTES)
            template = self.section(SectionId.CHAT).decode() if SectionId.CHAT in self.sections else None
            return _tokenizer(facts, template)
        except (zlib.error, ValueError, KeyError, TypeError) as error:
            raise self._fail("the tokenizer is damaged") from error


def identity(path: Path) -> str:
    """The digest of an image's header, which holds the root of all hashes: the image by its first page alone."""
    with open_regular(path, ImageError) as file:
        return file.read(HEADER_BYTES)[HEADER_DIGEST_OFFSET:].hex()


def whole_identity(path: Path) -> str:
    """``identity`` of an image whose contents have been hashed; "" for one that is damaged."""
    try:
        Image(path).verify()
        return identity(path)
    except ImageError:
        return ""


def _tokenizer(facts: Any, template: str | None) -> Tokenizer:
    """The tokenizer that a section describes. Raises ValueError, TypeError or KeyError where it is another thing."""
    text, bos, special = facts["tokenizer.json"], facts["bos"], facts["special"]
    stops, prefix, ranks = facts["stop_ids"], facts.get("prefix", []), facts.get("ranks")
    texts = [text, *special.keys(), *special.values()] if isinstance(special, dict) else [None]
    if not all(isinstance(each, str) and is_unicode(each) for each in texts):
        raise TypeError("no texts")
    if not isinstance(facts["add_bos"], bool) or len(stops) > MAX_STOP_IDS or len(prefix) > MAX_PREFIX:
        raise ValueError("unlikely values")
    if not _are_ids(stops) or not _are_ids(prefix) or not _are_ids([bos] if bos is not None else []):
        raise ValueError("no ids")
    if ranks is not None and not _are_ids(ranks):
        raise ValueError("no ranks")
    return Tokenizer(
        json=text,
        bos=bos,
        stop_ids=tuple(stops),
        chat_template=template,
        special=special,
        add_bos=facts["add_bos"],
        prefix=tuple(prefix),
        ranks=None if ranks is None else tuple(ranks),
        refusal=ImageError,
    )


def _are_ids(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < NO_TENSOR for value in values)
