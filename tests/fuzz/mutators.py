# SPDX-License-Identifier: Apache-2.0
"""Mutators that know the format, so that most of what they make gets past counts, lengths and checksums.

Each takes the bytes of a whole input, the greatest size allowed and a seed, and leaves a share of the work to
libFuzzer's own mutations of the whole, so that the checks they get past are tried as well.
"""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import google_crc32c
from cobs import cobs

from host.files.tensor import PLAIN
from host.link.frames import HEADER
from host.schema.wire.constants import CRC_BYTES, MAX_PAYLOAD
from tests.fuzz.mutate_gguf import (
    MAX_TENSOR,
    mutate_bytes,
    number_near,
)


def _change_header(header: dict[str, Any], rng: random.Random) -> None:
    """One tensor of a safetensors header."""
    name = rng.choice(list(header))
    entry = header[name]
    shape = entry.get("shape") if isinstance(entry, dict) else None
    action = rng.randrange(8)
    if action == 0:
        header[mutate_bytes(name.encode(), len(name) + 8).decode("utf-8", "replace")] = header.pop(name)
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
        entry["data_offsets"] = [number_near(rng, 8), number_near(rng, 8)]
    elif action == 5:
        entry[rng.choice(("dtype", "shape", "data_offsets", "x"))] = rng.choice((None, [], "F32", [0], [[0]], 1e400))
    elif shape:
        shape[rng.randrange(len(shape))] = number_near(rng, 2)


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
        return mutate_bytes(data, max_size)
    text, rest = data[8 : 8 + length], data[8 + length :]
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not header or way < 0.4:
        text = mutate_bytes(text, max_size - len(rest) - 8)
    elif way < 0.5:
        rest = mutate_bytes(rest, max_size - length - 8)
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
        return mutate_bytes(segment, room)
    head, payload = raw[: HEADER.size], raw[HEADER.size :]
    if rng.random() < 0.5:
        payload = mutate_bytes(payload, min(room - HEADER.size - 8, MAX_PAYLOAD + 2))
    else:
        head = mutate_bytes(head, HEADER.size).ljust(HEADER.size, b"\0")
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
        return mutate_bytes(data, max_size)
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
        return mutate_bytes(data, max_size)
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
        return mutate_bytes(data, max_size)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, way = rng.randrange(len(lines)), rng.random()
        key, equals, value = lines[at].partition(b"=")
        _, _, other = rng.choice(lines).partition(b"=")
        if way < 0.15 and len(lines) > 1:
            del lines[at]
        elif way < 0.25:
            lines.insert(at, rng.choice(lines))
        elif equals:
            value = rng.choice(WORDS) if way < 0.5 else other if way < 0.7 else mutate_bytes(value, 200)
            lines[at] = key + equals + value
    return b"\n".join(lines)[:max_size]
