# SPDX-License-Identifier: Apache-2.0
"""The mutator of GGUF files."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field, replace

import atheris
from gguf import GGMLQuantizationType

from host.files.tensor import block_size

STRING, ARRAY = 8, 9
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a metadata value by its type."""
KINDS = (*GGMLQuantizationType, 4, 5, 2**32 - 1)
MAX_TENSOR = 4096
"""Tensors that a mutation made larger keep the place they had."""
NUMBERS = (0, 1, 2, 3, 8, 31, 32, 255, 1024, 2**20, 2**31 - 1, 2**32, 2**40, 2**63, 2**64 - 1)


def mutate_bytes(data: bytes, room: int) -> bytes:
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


def number_near(rng: random.Random, near: int) -> int:
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
        entry.values[at] = mutate_bytes(entry.values[at], len(entry.values[at]) + 16)
    elif kind not in (6, 12) and rng.random() < 0.5:
        number = number_near(rng, int.from_bytes(entry.values[at], "little")) % (1 << 8 * WIDTHS[kind])
        entry.values[at] = number.to_bytes(WIDTHS[kind], "little")
    else:
        entry.values[at] = mutate_bytes(entry.values[at], WIDTHS[kind]).ljust(WIDTHS[kind], b"\0")


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
        entry.key = mutate_bytes(entry.key, len(entry.key) + 8)
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
        tensor.name = mutate_bytes(tensor.name, len(tensor.name) + 8)
    elif action == 1:
        tensor.name, other.name = other.name, tensor.name
    elif action == 2:
        tensor.kind = int(rng.choice(KINDS))
    elif action == 3:
        tensor.offset = number_near(rng, tensor.offset) % 2**64
    elif action == 4:
        tensor.shape = list(rng.choice((tensor.shape[1:], [*tensor.shape, 1], tensor.shape[::-1], other.shape)))
    elif action == 5 and tensor.shape:
        at = rng.randrange(len(tensor.shape))
        tensor.shape[at] = number_near(rng, tensor.shape[at]) % 2**64
    elif action == 6:
        parts.tensors.remove(tensor)
    elif action == 7:
        name = rng.choice((b"output.weight", b"rope_freqs.weight", b"blk.0.attn_q.bias", b"blk.0.ffn_gate.bias"))
        parts.tensors.append(_Tensor(name, list(tensor.shape), tensor.kind, tensor.offset, tensor.data))
    else:
        tensor.data = mutate_bytes(tensor.data, len(tensor.data))


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
        return mutate_bytes(data, max_size)
    for entry in parts.entries if len(_KNOWN) < 100 else []:
        _KNOWN.setdefault(entry.key, replace(entry, values=list(entry.values)))
    if rng.random() < 0.25 or not _KNOWN:
        return mutate_bytes(data, max_size)
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
