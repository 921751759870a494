# SPDX-License-Identifier: Apache-2.0
"""Mutators that know the format, so that most of what they make gets past counts, lengths and checksums.

Each takes the bytes of a whole input, the greatest size allowed and a seed, and leaves a share of the work to
libFuzzer's own mutations of the whole, so that the checks they get past are tried as well.
"""

from __future__ import annotations

import json
import random
import struct
from dataclasses import dataclass, field, replace
from typing import Any

import atheris
import google_crc32c
from cobs import cobs
from gguf import GGMLQuantizationType

from host.files.tensor import PLAIN, block_size
from host.link.frames import HEADER
from host.schema.wire.constants import CRC_BYTES, MAX_PAYLOAD

STRING, ARRAY = 8, 9
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a metadata value by its type."""
KINDS = (*GGMLQuantizationType, 4, 5, 2**32 - 1)
MAX_TENSOR = 4096
"""Tensors that a mutation made larger keep the place they had."""
NUMBERS = (0, 1, 2, 3, 8, 31, 32, 255, 1024, 2**20, 2**31 - 1, 2**32, 2**40, 2**63, 2**64 - 1)


def _mutate(data: bytes, room: int) -> bytes:
    return bytes(atheris.Mutate(data, room)) if room > 0 else b""


@dataclass
class _Entry:
    """A metadata entry; ``item`` is the type of an array's elements, None where the value is no array."""

    key: bytes
    kind: int
    item: int | None
    values: list[bytes]


@dataclass
class _Tensor:
    """A line of the table, and the bytes at its offset."""

    name: bytes
    shape: list[int]
    kind: int
    offset: int
    data: bytes = b""


@dataclass
class Gguf:
    """A GGUF in parts. Parsing raises ValueError or KeyError where it is none."""

    entries: list[_Entry] = field(default_factory=list)
    tensors: list[_Tensor] = field(default_factory=list)
    data: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> Gguf:
        """A version 3 file with counts that its bytes bear out."""
        at = 24

        def take(size: int) -> bytes:
            nonlocal at
            if size > len(data) - at:
                raise ValueError(size)
            at += size
            return data[at - size : at]

        def number(size: int) -> int:
            return int.from_bytes(take(size), "little")

        if data[:8] != b"GGUF\3\0\0\0":
            raise ValueError(data[:8])
        made = cls()
        for _ in range(int.from_bytes(data[16:24], "little")):
            key, kind = take(number(8)), number(4)
            item, count, element = None, 1, kind
            if kind == ARRAY:
                item = element = number(4)
                count = number(8)
            if element == STRING:
                values = [take(number(8)) for _ in range(count)]
            else:
                width = WIDTHS[element]
                whole = take(width * count)
                values = [whole[i : i + width] for i in range(0, len(whole), width)]
            made.entries.append(_Entry(key, kind, item, values))
        for _ in range(int.from_bytes(data[8:16], "little")):
            name, rank = take(number(8)), number(4)
            shape = [number(8) for _ in range(min(rank, 8))]
            made.tensors.append(_Tensor(name, shape, number(4), number(8)))
        made.data = data[-(-at // 32) * 32 :]
        for tensor in made.tensors:
            tensor.data = made.data[tensor.offset : tensor.offset + MAX_TENSOR]
        return made

    def place(self) -> None:
        """Tensors one behind the other, as large as shape and kind say."""
        made = b""
        for tensor in self.tensors:
            elements = 1
            for length in tensor.shape:
                elements *= length
            try:
                per_block, block_bytes = block_size(GGMLQuantizationType(tensor.kind).name)
            except (KeyError, ValueError):
                continue
            size = elements // per_block * block_bytes
            if size <= MAX_TENSOR:
                tensor.offset = len(made)
                made += tensor.data[:size].ljust(-(-size // 32) * 32, b"\0")
        self.data = made

    def write(self) -> bytes:
        """The file."""
        out = [b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.entries))]
        for entry in self.entries:
            out.append(struct.pack("<Q", len(entry.key)) + entry.key + struct.pack("<I", entry.kind))
            kind = entry.kind
            if entry.item is not None:
                kind = entry.item
                out.append(struct.pack("<IQ", kind, len(entry.values)))
            out += [struct.pack("<Q", len(value)) + value if kind == STRING else value for value in entry.values]
        for tensor in self.tensors:
            out.append(struct.pack("<Q", len(tensor.name)) + tensor.name + struct.pack("<I", len(tensor.shape)))
            out += [struct.pack("<Q", length) for length in tensor.shape]
            out.append(struct.pack("<IQ", tensor.kind, tensor.offset))
        head = b"".join(out)
        return head + bytes(-len(head) % 32) + self.data


def _number(rng: random.Random, near: int) -> int:
    """An edge, or something near."""
    return rng.choice(NUMBERS) if rng.random() < 0.5 else max(0, near + rng.choice((-1, 1, near)))


def _change_values(entry: _Entry, rng: random.Random) -> None:
    """An element of an entry: other bytes, one more, one less."""
    kind = entry.kind if entry.item is None else entry.item
    at = rng.randrange(len(entry.values)) if entry.values else 0
    if entry.item is not None and (not entry.values or rng.random() < 0.3):
        entry.values[at : at + 1] = rng.choice((entry.values[at : at + 1] * 2, []))
    elif entry.item is not None and rng.random() < 0.2:
        entry.values[at] = rng.choice(entry.values)
    elif kind == STRING:
        entry.values[at] = _mutate(entry.values[at], len(entry.values[at]) + 16)
    elif kind not in (6, 12) and rng.random() < 0.5:
        number = _number(rng, int.from_bytes(entry.values[at], "little")) % (1 << 8 * WIDTHS[kind])
        entry.values[at] = number.to_bytes(WIDTHS[kind], "little")
    else:
        entry.values[at] = _mutate(entry.values[at], WIDTHS[kind]).ljust(WIDTHS[kind], b"\0")


def _change_entries(parts: Gguf, rng: random.Random, known: dict[bytes, _Entry]) -> None:
    """One entry: its values as often as anything else."""
    at = rng.randrange(len(parts.entries) + 1)
    entry = parts.entries[at] if at < len(parts.entries) else None
    action = rng.randrange(8)
    if entry is None or action == 0:
        known_one = known[rng.choice(list(known))]
        parts.entries.insert(at, replace(known_one, values=list(known_one.values)))
    elif action == 1:
        del parts.entries[at]
    elif action == 2:
        entry.key = _mutate(entry.key, len(entry.key) + 8)
    elif action == 3:
        other = rng.choice(parts.entries)
        entry.kind, entry.item, entry.values = other.kind, other.item, list(other.values)
    elif action == 4 and entry.item is not None:
        entry.item = rng.choice((*WIDTHS, STRING, ARRAY))
        width = WIDTHS.get(entry.item)
        entry.values = [value[:width].ljust(width or 0, b"\0") for value in entry.values if entry.item != ARRAY]
    else:
        _change_values(entry, rng)


def _change_tensors(parts: Gguf, rng: random.Random) -> None:
    """One line of the table, or the bytes that it stands for."""
    if not parts.tensors:
        return
    tensor, other = rng.choice(parts.tensors), rng.choice(parts.tensors)
    action = rng.randrange(9)
    if action == 0:
        tensor.name = _mutate(tensor.name, len(tensor.name) + 8)
    elif action == 1:
        tensor.name, other.name = other.name, tensor.name
    elif action == 2:
        tensor.kind = int(rng.choice(KINDS))
    elif action == 3:
        tensor.offset = _number(rng, tensor.offset) % 2**64
    elif action == 4:
        tensor.shape = list(rng.choice((tensor.shape[1:], [*tensor.shape, 1], tensor.shape[::-1], other.shape)))
    elif action == 5 and tensor.shape:
        at = rng.randrange(len(tensor.shape))
        tensor.shape[at] = _number(rng, tensor.shape[at]) % 2**64
    elif action == 6:
        parts.tensors.remove(tensor)
    elif action == 7:
        name = rng.choice((b"output.weight", b"rope_freqs.weight", b"blk.0.attn_q.bias", b"blk.0.ffn_gate.bias"))
        parts.tensors.append(_Tensor(name, list(tensor.shape), tensor.kind, tensor.offset, tensor.data))
    else:
        tensor.data = _mutate(tensor.data, len(tensor.data))


_KNOWN: dict[bytes, _Entry] = {}
"""Entries of the first files seen, by key, to put into others."""
_LAST: dict[bytes, Gguf] = {}
"""What was made last, in parts: libFuzzer changes it some times more before it takes up another file."""


def mutate_gguf(data: bytes, max_size: int, seed: int) -> bytes:
    """Some entries and tensors changed, the counts and mostly the offsets fitting; a fourth of them as bytes."""
    rng = random.Random(seed)
    try:
        parts = _LAST.pop(data, None) or Gguf.parse(data)
    except (ValueError, KeyError):
        return _mutate(data, max_size)
    for entry in parts.entries if len(_KNOWN) < 100 else []:
        _KNOWN.setdefault(entry.key, replace(entry, values=list(entry.values)))
    if rng.random() < 0.25 or not _KNOWN:
        return _mutate(data, max_size)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if rng.random() < 0.6:
            _change_entries(parts, rng, _KNOWN)
        else:
            _change_tensors(parts, rng)
    if rng.random() < 0.85:
        parts.place()
    made = parts.write()
    _LAST.clear()
    _LAST[made] = parts
    return made[:max_size]


def _change_header(header: dict[str, Any], rng: random.Random) -> None:
    """One tensor of a safetensors header."""
    name = rng.choice(list(header))
    entry = header[name]
    shape = entry.get("shape") if isinstance(entry, dict) else None
    action = rng.randrange(8)
    if action == 0:
        header[_mutate(name.encode(), len(name) + 8).decode("utf-8", "replace")] = header.pop(name)
    elif action == 1:
        del header[name]
    elif not isinstance(shape, list):
        header[name] = rng.choice((None, [], {}, {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}))
    elif action == 2:
        entry["dtype"] = rng.choice((*PLAIN, "I8", "I64", "BOOL", "F4", "F8_E8M0", "f32", 0))
    elif action == 3:
        entry["shape"] = rng.choice(
            ([], [*shape, 1], [0, *shape], [2**40] * 3, shape[::-1], None, [2**63, 2], [-1], [1.0])
        )
    elif action == 4 and rng.random() < 0.5:
        header[name] = list(entry.values())
    elif action == 4:
        entry["data_offsets"] = [_number(rng, 8), _number(rng, 8)]
    elif action == 5:
        entry[rng.choice(("dtype", "shape", "data_offsets", "x"))] = rng.choice((None, [], "F32", [0], [[0]], 1e400))
    elif shape:
        shape[rng.randrange(len(shape))] = _number(rng, 2)


def _place_header(header: dict[str, Any]) -> int:
    """Offsets one behind the other, as large as shape and dtype say; return the size of the data."""
    end = 0
    for entry in header.values():
        try:
            size = PLAIN[entry["dtype"]][0]
            for length in entry["shape"]:
                size *= length
        except (KeyError, TypeError):
            continue
        if isinstance(size, int) and 0 <= size <= MAX_TENSOR:
            entry["data_offsets"] = [end, end + size]
            end += size
    return end


def mutate_safetensors(data: bytes, max_size: int, seed: int) -> bytes:
    """The header by its meaning, the header by its bytes with a length that fits, or the whole file."""
    rng = random.Random(seed)
    length = int.from_bytes(data[:8], "little")
    way = rng.random()
    if not 0 < length <= len(data) - 8 or way < 0.15:
        return _mutate(data, max_size)
    text, rest = data[8 : 8 + length], data[8 + length :]
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not header or way < 0.4:
        text = _mutate(text, max_size - len(rest) - 8)
    elif way < 0.5:
        rest = _mutate(rest, max_size - length - 8)
    else:
        for _ in range(rng.choice((1, 1, 2))):
            if header:
                _change_header(header, rng)
        if rng.random() < 0.8:
            size = _place_header(header)
            rest = rest[:size].ljust(size, b"\0")
        text = json.dumps(header).encode("utf-8", "surrogatepass")
    return (struct.pack("<Q", len(text)) + text + rest)[:max_size]


def _change_segment(segment: bytes, room: int, rng: random.Random) -> bytes:
    """A frame's header or payload, its checksum and mostly its length made right; other bytes as they are."""
    try:
        raw = cobs.decode(segment)[:-CRC_BYTES]
    except cobs.DecodeError:
        raw = b""
    if len(raw) < HEADER.size:
        return _mutate(segment, room)
    head, payload = raw[: HEADER.size], raw[HEADER.size :]
    if rng.random() < 0.5:
        payload = _mutate(payload, min(room - HEADER.size - 8, MAX_PAYLOAD + 2))
    else:
        head = _mutate(head, HEADER.size).ljust(HEADER.size, b"\0")
    if rng.random() < 0.9:
        head = head[:-2] + struct.pack("<H", len(payload))
    raw = head + payload
    return bytes(cobs.encode(raw + google_crc32c.value(raw).to_bytes(CRC_BYTES, "little")))


def mutate_frames(data: bytes, max_size: int, seed: int) -> bytes:
    """One of the segments between the delimiters, or as often the whole."""
    rng = random.Random(seed)
    segments = data.split(b"\0")
    at = rng.randrange(len(segments))
    room = max_size - len(data) + len(segments[at])
    if rng.random() < 0.5 or room < 64:
        return _mutate(data, max_size)
    segments[at] = _change_segment(segments[at], room, rng)
    return b"\0".join(segments)[:max_size]


VALUES = (None, True, 0, -1, 1.5, 2**32, 2**70, "", "a", "\u2581", "<s>", "\ud800", "(a|aa)+b", [], {}, [[]], {"a": 1})
TYPES = (
    "BPE",
    "WordLevel",
    "Unigram",
    "WordPiece",
    "Split",
    "ByteLevel",
    "Sequence",
    "Replace",
    "NFC",
    "Fuse",
    "Digits",
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a value, with each of its keys or indices."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        found += [(each, key) for key in keys]
        waiting += [each[key] for key in keys]
    return found


def mutate_json(data: bytes, max_size: int, seed: int) -> bytes:
    """Values by their meaning: replaced, copied from another place, left out; or the bytes of the whole."""
    rng = random.Random(seed)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not (places := _places(value)) or rng.random() < 0.25:
        return _mutate(data, max_size)
    for _ in range(rng.choice((1, 1, 2, 4))):
        holder, key = rng.choice(places)
        source, other = rng.choice(places)
        if not (key in holder if isinstance(holder, dict) else key < len(holder)):
            continue
        way = rng.random()
        if way < 0.2:
            del holder[key]
        elif way < 0.5 and (other in source if isinstance(source, dict) else other < len(source)):
            holder[key] = json.loads(json.dumps(source[other]))
        else:
            holder[key] = rng.choice(TYPES if key == "type" and rng.random() < 0.7 else VALUES)
    return json.dumps(value).encode()[:max_size]


WORDS = (
    b'""',
    b"-1",
    b"0",
    b"1e999",
    b"nan",
    b"[]",
    b"{}",
    b"true",
    b'"pypi"',
    b'"local"',
    b'"../x"',
    b'"a\\u0000"',
    b"[[",
)


def mutate_lines(data: bytes, max_size: int, seed: int) -> bytes:
    """Lines KEY = VALUE: a value replaced or taken from another line, a line left out or doubled; or the bytes."""
    rng = random.Random(seed)
    lines = data.split(b"\n")
    if len(lines) < 2 or rng.random() < 0.3:
        return _mutate(data, max_size)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, way = rng.randrange(len(lines)), rng.random()
        key, equals, value = lines[at].partition(b"=")
        _, _, other = rng.choice(lines).partition(b"=")
        if way < 0.15 and len(lines) > 1:
            del lines[at]
        elif way < 0.25:
            lines.insert(at, rng.choice(lines))
        elif equals:
            value = (
                rng.choice(WORDS) if way < 0.5 else other if way < 0.7 else _mutate(lines[at].partition(b"=")[2], 200)
            )
            lines[at] = key + equals + value
    return b"\n".join(lines)[:max_size]
