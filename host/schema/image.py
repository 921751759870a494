# SPDX-License-Identifier: Apache-2.0
"""The flash image, byte by byte: the one declaration that host, firmware and documents are made from.

Everything is little-endian. Offsets of sections count from the start of the file and are multiples of
``SECTION_ALIGN``; offsets of tensors count from the start of the WEIGHTS section and are multiples of ``TENSOR_ALIGN``.
``tools/gen_headers.py`` turns the structures and enums below into ``image_format.h`` (offsets and accessors).
The prose is in docs/image-format.md.
"""

from __future__ import annotations

import enum

from construct import (
    Array,
    Bytes,
    Const,
    Int16ul,
    Int32ul,
    Int64ul,
    Struct,
)

MAGIC = b"\x89HSPK\r\n\x1a"
VERSION_MAJOR = 2
VERSION_MINOR = 0

SECTION_ALIGN = 4096
TENSOR_ALIGN = 64
ARENA_UNIT = 64
HEADER_BYTES = 4096
LEAF_BYTES = 1 << 20
HASH_BYTES = 32
OP_BYTES = 128
MAX_SECTIONS = 16
MAX_STOP_IDS = 8

TILE_ROWS = 64
HART_ROWS = 16
GROUP = 32
PAGE_TOKENS = 64
PARTIAL_TOKENS = 256


class SectionId(enum.IntEnum):
    """What a section holds."""

    PLAN = 1
    TENSORS = 2
    STATES = 3
    PROGRAM = 4
    WEIGHTS = 5
    NAMES = 6
    TOKENIZER = 7
    CHAT = 8
    MANIFEST = 9
    HASHES = 10
    SIGNATURE = 11
    BPE = 12
    """Tables to tokenize with, as byte pair encodings of few kinds need them."""
    TOKENS = 13
    """The same for every other tokenizer; beside it there is no BPE."""


class HashId(enum.IntEnum):
    """What the image's hashes are, the header's own digest included."""

    SHA256 = 1
    """SHA-256: of each leaf, of the leaves' digests, of the header page."""
    BLAKE2B = 2
    """BLAKE2b, 32 bytes: leaves and their digests as nodes of a tree, the header page alone."""


class SignatureAlgorithm(enum.IntEnum):
    """How an image is signed."""

    ED25519 = 1


class SectionFlag(enum.IntFlag):
    """Bits of `Section.flags`."""

    REQUIRED = 1
    """A reader that does not know the section's id must refuse the image."""


class Space(enum.IntEnum):
    """Where an operand lies; NONE: the op has none."""

    NONE = 0
    ARENA = 1


class Format(enum.IntEnum):
    """What activations (F32, Q8A) and KV caches (F32, KV8) are stored as; weights: host/schema/formats.

    All have one space of numbers, so no weight format may take one of these but f32 its own.
    """

    F32 = 1
    Q8A = 16
    KV8 = 17


class Layout(enum.IntEnum):
    """In which order a weight's values lie; see docs/image-format.md, "Weight layouts"."""

    PLAIN = 0
    RVV = 1
    SWAR = 2
    LEAN = 3
    """SWAR without what spares arithmetic: fewer bytes."""

    @property
    def order(self) -> Layout:
        """The layout whose kernels read this one, which every format for them has."""
        return Layout.SWAR if self is Layout.LEAN else self


class Split(enum.IntEnum):
    """What a text is cut into before merges: by whose pattern."""

    NONE = 0
    """Not at all: SentencePiece."""
    GPT2 = 1
    DIGITS = 2
    """Each digit alone, the rest as GPT2: SmolLM2."""
    LLAMA3 = 3
    QWEN2 = 4


class BpeFlag(enum.IntFlag):
    """Bits of `Bpe.flags`."""

    WHOLE_WORDS = 1
    """A piece that is a token of its own is taken before any merge."""
    CHARACTERS = 2
    """Merges begin with characters, of which unknown ones fall back to bytes: SentencePiece. Else with bytes."""
    PREPEND_SPACE = 4
    """A text begins with one more space; an answer with one less."""
    CHAT = 8
    """`first` and `suffix` make a question; else a line is a text to be continued."""
    TURNS = 16
    """`next` goes on with a conversation; else each question begins anew."""


class AddedFlag(enum.IntFlag):
    """Bits of `BpeAdded.flags`."""

    SPECIAL = 1
    """Not shown in an answer."""


class Domain(enum.IntEnum):
    """Which rows an op runs on: all rows of the step, or only those whose logits are wanted."""

    ROWS = 0
    LOGIT_ROWS = 1


class Activation(enum.IntEnum):
    """Elementwise function of a LINEAR or ELTWISE op."""

    NONE = 0
    SILU = 1
    GELU_TANH = 2
    GELU_ERF = 3
    RELU = 4
    TANH = 5


class OutputKind(enum.IntEnum):
    """What the program leaves behind."""

    LOGITS = 1
    """One f32 a vocabulary entry, of each row whose logits are wanted."""
    VECTORS = 2
    """A vector that stands for the whole sequence, or for each of its tokens."""
    LABELS = 3
    """One f32 a label, of the whole sequence or of each of its tokens."""


class StateKind(enum.IntEnum):
    """What a session keeps from step to step."""

    KV_PAGES = 1
    """Keys and values of one layer, in pages."""


class Overflow(enum.IntEnum):
    """What happens when a session is full."""

    STOP = 0
    """A full context ends with context_full."""
    SLIDE = 1
    """The oldest positions beyond the pinned sinks are overwritten. Refused for learned positions."""


NO_TENSOR = 0xFFFFFFFF

Header = Struct(
    "magic" / Const(MAGIC),
    "version_major" / Int16ul,
    "version_minor" / Int16ul,
    "section_count" / Int32ul,
    "file_size" / Int64ul,
    "payload_size" / Int64ul,  # bytes from HEADER_BYTES on that the leaves cover: all sections before HASHES
    "root" / Bytes(HASH_BYTES),  # hash over the concatenated leaf digests
    "image_version" / Int32ul,  # the publisher's own counter, for roll-back protection
    "flags" / Int32ul,  # 0
    "hash" / Int32ul,  # HashId
    # section_count entries of Section follow at SECTION_TABLE_OFFSET; the last HASH_BYTES of the header page are the
    # hash of all of the page before them. Unused bytes are 0.
)
SECTION_TABLE_OFFSET = 128
HEADER_DIGEST_OFFSET = HEADER_BYTES - HASH_BYTES

Section = Struct(
    "id" / Int32ul,
    "flags" / Int32ul,
    "offset" / Int64ul,
    "size" / Int64ul,  # exact; the next section starts at the next multiple of SECTION_ALIGN
    "reserved" / Const(bytes(8)),
)

Signature = Struct(
    "algorithm" / Int32ul,  # SignatureAlgorithm
    "reserved" / Int32ul,  # 0
    "key_id" / Bytes(8),  # first bytes of the SHA-256 of the public key
    "signature" / Bytes(64),  # over the header page, HEADER_BYTES; its digests vouch for all else
)

# PLAN may be longer than this, up to SECTION_ALIGN: fields of later versions, which mean nothing while they are 0. A
# reader refuses what it does not know.
Plan = Struct(
    "vocab" / Int32ul,
    "dim" / Int32ul,
    "layers" / Int32ul,
    "context" / Int32ul,  # positions a session may hold (STOP) or attend to (SLIDE)
    "max_rows" / Int32ul,
    "max_logit_rows" / Int32ul,
    "sessions" / Int32ul,
    "overflow" / Int32ul,  # Overflow
    "sinks" / Int32ul,  # pinned positions under SLIDE
    "tensor_count" / Int32ul,
    "state_count" / Int32ul,
    "op_count" / Int32ul,
    "output_kind" / Int32ul,  # OutputKind
    "output_width" / Int32ul,  # f32 a row; of LOGITS the vocabulary
    "output_whole_step" / Int32ul,  # 1: a step is one whole sequence, and the output belongs to it; 0: to its rows
    "output_offset" / Int32ul,  # arena, ARENA_UNIT units: of LOGITS max_logit_rows rows of f32
    "output_stride" / Int32ul,  # ARENA_UNIT units a row
    "bos" / Int32ul,  # NO_TENSOR: none
    "arena_bytes" / Int64ul,  # activations
    "runtime_bytes" / Int64ul,  # page tables, pages, histories, sampler: see docs/image-format.md for the formula
    "flags" / Int32ul,  # 0
    "stop_count" / Int32ul,
    "stop_ids" / Array(MAX_STOP_IDS, Int32ul),  # 0 from stop_count on
)

Tensor = Struct(
    "format" / Int32ul,  # id of a weight format
    "layout" / Int32ul,  # Layout
    "rows" / Int32ul,  # logical; RVV and SWAR layouts hold them padded to TILE_ROWS
    "cols" / Int32ul,  # logical; padded to GROUP in formats of groups
    "offset" / Int64ul,  # from the start of WEIGHTS
    "size" / Int64ul,  # bytes, exactly what format, layout, rows and cols imply
    "name_offset" / Int32ul,  # into NAMES
    "name_size" / Int32ul,
    "reserved" / Const(bytes(24)),
)

State = Struct(
    "kind" / Int32ul,  # StateKind, which says what follows; of KV_PAGES:
    "format" / Int32ul,  # Format.F32 or Format.KV8
    "kv_heads" / Int32ul,
    "head_dim" / Int32ul,
    "window" / Int32ul,  # positions attended to, the row's own included; 0: all
    "sinks" / Int32ul,  # positions at the start that stay attended to
    "pages" / Int32ul,  # pages a session holds at most
    "page_bytes" / Int32ul,
    "reserved" / Const(bytes(32)),
)

Operand = Struct(
    "space" / Int32ul,  # Space
    "offset" / Int32ul,  # of row 0, ARENA_UNIT units
    "stride" / Int32ul,  # from row to row, ARENA_UNIT units
    "col" / Int32ul,  # first element within the row (F32 only; 0 for Q8A)
)

OpHead = Struct(
    "id" / Int16ul,
    "version" / Int16ul,
    "domain" / Int16ul,
    "reserved" / Const(bytes(2)),
    # FIELDS of host/ops/<op>.py follow, and zeros to OP_BYTES.
)

Bpe = Struct(
    "split" / Int32ul,  # Split
    "flags" / Int32ul,  # BpeFlag
    "vocab" / Int32ul,  # ids with a text: at most the plan's vocab
    "merge_count" / Int32ul,
    "sorted_count" / Int32ul,
    "added_count" / Int32ul,
    "text_bytes" / Int32ul,
    "first_bytes" / Int32ul,  # before the first question
    "end_bytes" / Int32ul,  # behind an answer that did not end itself
    "next_bytes" / Int32ul,  # between an answer's end and the next question
    "suffix_bytes" / Int32ul,  # behind a question
    "end_id" / Int32ul,  # the token that `end` is; or NO_TENSOR
    # Then: u32 byte_ids[256], the token of each byte or NO_TENSOR; u32 text_offsets[vocab + 1]; BpeMerge
    # [merge_count], ascending by left, right; u32 sorted[sorted_count], ids ascending by their texts; BpeAdded
    # [added_count]; text[text_bytes]; first, end, next and suffix.
)
BpeMerge = Struct(
    "left" / Int32ul,
    "right" / Int32ul,
    "rank" / Int32ul,  # lowest first
    "merged" / Int32ul,
)
BpeAdded = Struct(
    "id" / Int32ul,  # a token that is found in a text before anything else
    "flags" / Int32ul,  # AddedFlag
)
BPE_BYTES = 256
MAX_ROLE_BYTES = 2048


def align(value: int, to: int) -> int:
    """``value`` rounded up to a multiple of ``to``."""
    return -(-value // to) * to


def q8a_row_bytes(width: int) -> int:
    """Bytes of one quantized activation row: int8 values, f32 scales, i32 sums, each part padded to 64 bytes."""
    groups = align(width, GROUP) // GROUP
    return align(groups * GROUP, ARENA_UNIT) + 2 * align(groups * 4, ARENA_UNIT)


def f32_row_bytes(width: int) -> int:
    """Bytes of one f32 activation row, padded to 64 bytes."""
    return align(width * 4, ARENA_UNIT)


def page_bytes(fmt: Format, kv_heads: int, head_dim: int) -> int:
    """Bytes of one page: PAGE_TOKENS keys and values of one layer, all KV heads."""
    values = 2 * kv_heads * PAGE_TOKENS * head_dim
    return values * 4 if fmt == Format.F32 else align(values, 64) + 2 * kv_heads * PAGE_TOKENS * 4


def state_pages(context: int, max_rows: int, window: int, sinks: int, overflow: Overflow) -> int:
    """Pages a session needs in one layer: all of its context, or a ring over window + max_rows behind the sinks' pages.

    Position p lies in page p / 64 while that is below the sinks' pages; behind them in
    sink_pages + (p / 64 - sink_pages) mod (pages - sink_pages). Under STOP no position reaches the context, so a
    window's ring is never larger than the whole context.
    """
    whole = align(context, PAGE_TOKENS) // PAGE_TOKENS
    if window == 0:
        return whole
    ring = align(window + max_rows, PAGE_TOKENS) // PAGE_TOKENS + 1 + align(sinks, PAGE_TOKENS) // PAGE_TOKENS
    return ring if overflow == Overflow.SLIDE else min(whole, ring)


def partial_chunks(context: int, window: int, sinks: int, overflow: Overflow) -> int:
    """The most chunks of PARTIAL_TOKENS positions, counted from 0, that one row can see any position of."""
    whole = align(context, PARTIAL_TOKENS) // PARTIAL_TOKENS
    if window == 0:
        return whole
    seen = (window + PARTIAL_TOKENS - 2) // PARTIAL_TOKENS + 1 + align(sinks, PARTIAL_TOKENS) // PARTIAL_TOKENS
    return seen if overflow == Overflow.SLIDE else min(whole, seen)


def runtime_bytes(sessions: int, context: int, vocab: int, pages: list[int], largest_page: int) -> int:
    """Bytes the engine carves behind the activations: what `Plan.runtime_bytes` must be.

    Page tables, free list and reference counts (u32 a page each), the sessions' token histories (u32 a position), the
    sampler's memory (8 bytes a vocabulary entry), then the pages; every part padded to 64 bytes.
    """
    total = sessions * sum(pages)
    return (
        3 * align(4 * total, 64)
        + sessions * align(4 * context, 64)
        + align(8 * vocab, 64)
        + total * align(largest_page, 64)
    )
