# SPDX-License-Identifier: Apache-2.0
"""Unbounded work: what an image can lengthen is bounded by the loader, and a typed line's work is counted.

The device's tokenizer is compiled with a memcmp that counts calls and bytes. 2,000,000 added tokens made a line of 900
characters take 11 seconds.
"""

from __future__ import annotations

import ctypes
import json
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from host.errors import DEVICE_ERRORS
from host.image.device_text import why_no_terminal
from host.schema import limits
from host.schema.image import BPE_BYTES, NO_TENSOR, Bpe, SectionId
from tests.support.device_tokenizer import Text
from tests.support.native import ROOT
from tests.support.texts import described
from tests.unit.test_firmware_parts import compile_c

LINE = 4096
COUNTER = """
#include <stddef.h>
unsigned long long work_calls, work_bytes;
int counted_memcmp(const unsigned char *a, const unsigned char *b, size_t n)
{
    work_calls++;
    for (size_t i = 0; i < n; i++, work_bytes++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}
"""
E_IMAGE_BPE = next(error.number for error in DEVICE_ERRORS if error.name == "IMAGE_BPE")


class Part(ctypes.Structure):
    """struct image_part."""

    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_uint64))


class Set(ctypes.Structure):
    """struct tokenizer_set."""

    _fields_ = (("start", ctypes.c_uint32), ("end", ctypes.c_uint32))


class Counted:
    """The device's tokenizer over the tables of some texts, all of them added, the odd ones special."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.lib = library
        self._bytes, self._added = b"", 0
        self._tokenizer = ctypes.create_string_buffer(1 << 19)

    def read(self, texts: Sequence[bytes], added: Sequence[int] | None = None) -> int:
        """The loader's answer: 0, or an error's number."""
        entries = range(len(texts)) if added is None else added
        self._added = len(entries)
        fields = dict.fromkeys(("split", "flags", "merge_count", "sorted_count", "first_bytes", "end_bytes"), 0)
        head = Bpe.build(
            fields
            | {"vocab": len(texts), "added_count": len(entries), "text_bytes": sum(map(len, texts))}
            | {"next_bytes": 0, "suffix_bytes": 0, "end_id": NO_TENSOR}
        )
        offsets, at = [0], 0
        for text in texts:
            at += len(text)
            offsets.append(at)
        tables = [[0] * BPE_BYTES, offsets, [word for index in entries for word in (index, index & 1)]]
        body = b"".join(struct.pack(f"<{len(table)}I", *table) for table in tables)
        self._bytes = head + body + b"".join(texts)
        image = (ctypes.c_uint8 * (24 + 16 * ctypes.sizeof(Part)))()
        part = Part(self._bytes, len(self._bytes))
        ctypes.memmove(ctypes.addressof(image) + 24 + SectionId.BPE * ctypes.sizeof(part), ctypes.byref(part), 16)
        return -int(self.lib.tokenizer_read(image, ctypes.c_uint32(1 << 20), self._tokenizer))

    def find(self, text: bytes) -> int:
        """The id of the longest added token that a text begins with, or NO_TENSOR."""
        self.lib.tokenizer_find_added.argtypes = [ctypes.c_void_p, Set, Text]
        self.lib.tokenizer_find_added.restype = ctypes.c_uint16
        self.lib.tokenizer_added_id.restype = ctypes.c_uint32
        held = Text(ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p), len(text))
        place = self.lib.tokenizer_find_added(self._tokenizer, Set(0, self._added), held)
        return NO_TENSOR if place == 0xFFFF else int(self.lib.tokenizer_added_id(self._tokenizer, place))

    def is_special(self, index: int) -> bool:
        return bool(self.lib.tokenizer_is_special(self._tokenizer, ctypes.c_uint32(index)))

    def encode(self, text: bytes) -> int:
        ids = (ctypes.c_uint32 * (LINE + 1))()
        return int(self.lib.tokenizer_encode(self._tokenizer, text, ctypes.c_uint32(len(text)), ids, LINE + 1))

    def work(self, act: Callable[[], object]) -> tuple[int, int]:
        """Comparisons and bytes compared meanwhile."""
        calls, size = (ctypes.c_ulonglong.in_dll(self.lib, f"work_{name}") for name in ("calls", "bytes"))
        calls.value = size.value = 0
        act()
        return calls.value, size.value


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Counted:
    folder = tmp_path_factory.mktemp("work")
    (folder / "counter.c").write_text(COUNTER)
    sources = [f"firmware/tokenizer/{path.name}" for path in (ROOT / "firmware/tokenizer").glob("*.c")]
    flags = ["-Dmemcmp=counted_memcmp", "-fno-builtin", "-fPIC", "-shared"]
    return Counted(ctypes.CDLL(str(compile_c(folder / "work.so", [*sources, str(folder / "counter.c")], *flags))))


def test_the_worst_tables_and_the_longest_line_are_bounded(counted: Counted) -> None:
    """As many added tokens as are taken, and a line at each of whose places one could begin."""
    most = limits.LIMIT_ADDED
    texts = [b"<|%08d|>" % index for index in range(most)]
    calls, size = counted.work(lambda: counted.read(texts))
    assert calls < most * 64
    calls, size = counted.work(lambda: counted.encode(b"<" * LINE))
    assert calls < LINE * 24
    assert size < LINE * 24 * 16
    calls, _ = counted.work(lambda: counted.is_special(most // 2))
    assert calls < 32


def test_tokens_that_begin_alike_are_bounded_too(counted: Counted) -> None:
    """Each is sorted before the line and shares all but its last character with it, and none is found."""
    longest = limits.LIMIT_ADDED_BYTES
    assert counted.read([b"a" * size + b"!" for size in range(longest)]) == 0
    calls, size = counted.work(lambda: counted.encode(b"a" * LINE))
    assert calls < LINE * 24
    assert size < LINE * 24 * longest


@pytest.mark.parametrize(
    ("texts", "added"),
    [
        ([b"x"] * (limits.LIMIT_ADDED + 1), None),
        ([b"x", b"y"], [0] * 100_000),
        ([b"x" * (limits.LIMIT_ADDED_BYTES + 1)], None),
        ([b"x" * limits.LIMIT_TOKEN_BYTES] * (limits.LIMIT_TEXT_BYTES // limits.LIMIT_TOKEN_BYTES) + [b"y"], []),
        ([b"x" * (limits.LIMIT_TOKEN_BYTES + 1)], []),
    ],
)
def test_more_is_refused_before_it_is_read(counted: Counted, texts: list[bytes], added: list[int] | None) -> None:
    found = []
    calls, _ = counted.work(lambda: found.append(counted.read(texts, added)))
    assert found == [E_IMAGE_BPE]
    assert calls == 0


def test_what_is_found_is_the_longest_and_of_equal_ones_the_first(counted: Counted) -> None:
    rng = random.Random(7)
    for _ in range(60):
        letters = "ab" if rng.random() < 0.7 else "abcd"
        texts = [
            "".join(rng.choice(letters) for _ in range(rng.randrange(1, 7))).encode() for _ in range(rng.randrange(40))
        ]
        texts.append(b"\x00\xff")
        added = [index for index in range(len(texts)) if rng.random() < 0.8]
        rng.shuffle(added)
        assert counted.read(texts, added) == 0
        for _ in range(50):
            text = "".join(rng.choice(letters) for _ in range(rng.randrange(1, 9))).encode()
            fitting = [index for index in added if text.startswith(texts[index])]
            expected = max(fitting, key=lambda index: len(texts[index]), default=NO_TENSOR)
            assert counted.find(text) == expected
        assert [counted.is_special(i) for i in range(len(texts))] == [
            i in added and i % 2 == 1 for i in range(len(texts))
        ]


def test_a_tokenizer_beyond_the_limits_is_packed_without_tables() -> None:
    """Known ones have up to 29,000 added tokens."""
    tokenizer = described("gpt2")
    facts = json.loads(tokenizer.json)
    entry = facts["added_tokens"][0]
    first = max(facts["model"]["vocab"].values()) + 1 + len(facts["added_tokens"])
    more = [entry | {"id": first + i, "content": f"<extra_{i}>"} for i in range(limits.LIMIT_ADDED)]
    facts["added_tokens"] += more[:7000]
    assert why_no_terminal(replace(tokenizer, json=json.dumps(facts))) is None
    facts["added_tokens"] += more[7000:]
    assert "added tokens" in str(why_no_terminal(replace(tokenizer, json=json.dumps(facts))))
