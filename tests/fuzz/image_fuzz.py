# SPDX-License-Identifier: Apache-2.0
"""Load and step broken images, every hash made right again, and count what became of them.

usage: image_fuzz.py IMAGE TRACE {each|all|random} [SEED ROUNDS]

In a process of its own, for an access outside image and arena ends it; TRACE then holds the last change. Prints the
counts as JSON.
"""

from __future__ import annotations

import json
import mmap
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from host.errors import BY_NUMBER, DeviceFailure
from host.ops import OPS
from host.schema.image import HEADER_BYTES, SECTION_TABLE_OFFSET, Header, OpHead, Section, SectionId, Tensor
from tests.support.images import ImageEditor
from tests.support.native import Native, params

Change = list[tuple[int, int]]
"""Offsets and the bytes to put there."""

WORDS = (0, 1, 2, 63, 64, 0x7FFFFFFF, 0x80000000, 0xFFFFFFC0, 0xFFFFFFFF)
TRACE_BYTES = 4096
TENSOR_FIELDS = 40


def metadata(editor: ImageEditor) -> list[int]:
    """Offsets of every byte that the loader reads: header, section table, plan, tensors, states, program."""
    table = SECTION_TABLE_OFFSET + len(editor.table()) * Section.sizeof()
    offsets = [*range(8, Header.sizeof()), *range(SECTION_TABLE_OFFSET, table)]
    for section in (SectionId.PLAN, SectionId.STATES):
        start, size = editor.sections[section]
        offsets += range(start, start + size)
    start, size = editor.sections[SectionId.TENSORS]
    for at in range(start, start + size, Tensor.sizeof()):
        offsets += range(at, at + TENSOR_FIELDS)
    for i, op in enumerate(editor.op_ids()):
        at = editor.op_offset(i)
        offsets += range(at, at + OpHead.sizeof() + OPS[op].fields.sizeof())
    return offsets


def put(offset: int, word: int) -> Change:
    return [(offset + i, word >> 8 * i & 0xFF) for i in range(4)]


def words_for(image: bytes, offset: int) -> list[int]:
    """What may break arithmetic, and the neighbours of what stands there."""
    value = int.from_bytes(image[offset : offset + 4], "little")
    found = dict.fromkeys([*WORDS, value + 1, value - 1, value * 2])
    return [word & 0xFFFFFFFF for word in found if word != value]


def single(image: bytes, offsets: list[int], every: bool) -> Iterator[Change]:
    """Each byte by itself, its lowest and its highest bit; each word by itself, all values; else one and two of these
    in turn."""
    for n, offset in enumerate(offsets):
        masks = (0x01, 0x80)
        for mask in masks if every else masks[n % 2 :][:1]:
            yield [(offset, image[offset] ^ mask)]
        if offset % 4 == 0:
            words = words_for(image, offset)
            for word in words if every else (words[n // 4 % len(words)], words[(n // 4 + 5) % len(words)]):
                yield put(offset, word)


def at_random(image: bytes, offsets: list[int], seed: int, rounds: int) -> Iterator[Change]:
    """Two to four words at once, values taken from elsewhere in the image as often as not."""
    rng = np.random.default_rng(seed)
    words = np.array([offset for offset in offsets if offset % 4 == 0 and offset >= HEADER_BYTES])
    for _ in range(rounds):
        change: Change = []
        for _ in range(int(rng.integers(2, 5))):
            source = int(words[rng.integers(len(words))])
            copied = int.from_bytes(image[source : source + 4], "little")
            word = copied if rng.random() < 0.6 else WORDS[rng.integers(len(WORDS))]
            change += put(int(words[rng.integers(len(words))]), word)
        yield change


def use(native: Native) -> None:
    """Step whatever was accepted, all rows and sessions that it offers, and sample from the result."""
    info = native.info
    rows: list[tuple[int, int, int, int]] = []
    for session in range(min(info.sessions, 2)):
        count = min(info.max_rows // 2, info.context)
        rows += [(session, i, (7 * i + session) % info.vocab, int(i == count - 1)) for i in range(count)]
    if rows:
        logits = native.step(rows[: info.max_rows])
        if len(logits):
            native.sample(params(0.9, top_p=0.9, repeat_penalty=1.1, repeat_last=64), logits[0])
    native.truncate(min(1, native.length()))
    native.feed([info.vocab - 1])


def run(image: bytes, changes: Iterator[Change], trace: mmap.mmap) -> Counter[str]:
    native = Native(1)
    info = native.load(image)
    arena = info.arena_bytes + info.runtime_bytes
    use(native)
    sections = ImageEditor(image).sections
    counts: Counter[str] = Counter()
    for change in changes:
        trace[:] = json.dumps(change).encode().ljust(TRACE_BYTES)
        editor = ImageEditor(image, sections)
        for offset, value in change:
            editor.data[offset] = value
        try:
            native.load(editor.sealed(), arena)
            use(native)
            counts["harmless"] += 1
        except DeviceFailure as failure:
            counts[BY_NUMBER[failure.number].name] += 1
        assert native.intact(), f"wrote beside the arena: {change}"
    return counts


def main(argv: list[str]) -> int:
    image = Path(argv[1]).read_bytes()
    offsets = metadata(ImageEditor(image))
    with Path(argv[2]).open("w+b") as file:
        file.truncate(TRACE_BYTES)
        trace = mmap.mmap(file.fileno(), TRACE_BYTES)
    if argv[3] == "random":
        changes = at_random(image, offsets, int(argv[4]), int(argv[5]))
    else:
        changes = single(image, offsets, argv[3] == "all")
    print(json.dumps(run(image, changes, trace)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
