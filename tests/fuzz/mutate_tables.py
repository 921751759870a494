# SPDX-License-Identifier: Apache-2.0
"""Changes of an image's tables: tensors, states, weights, the plan; sections, header, the tokenizer's tables."""

from __future__ import annotations

import random
import struct

from host.ops import OpId
from host.schema.formats import format_of, formats
from host.schema.image import (
    OP_BYTES,
    Format,
    Layout,
    Overflow,
    SectionId,
    align,
    page_bytes,
    partial_chunks,
    runtime_bytes,
    state_pages,
)
from tests.fuzz.image_parts import (
    BPE_AT,
    FIELDS,
    OP_HEAD,
    PLAN_AT,
    STATE_AT,
    STATE_BYTES,
    TENSOR_AT,
    TENSOR_BYTES,
    TOKENS_AT,
    Draft,
    count_ops,
    get,
    op_id,
    put,
    set_plan,
)
from tests.fuzz.mutate_program import SMALL_COUNTS

NAN_BITS = (0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000, 0x00000001, 0x80000000)

# ---- tensors, states, weights ----


def permute_tensors(rng: random.Random, draft: Draft) -> None:
    """Two records, or what two stand for, change places; or one lies where another lies."""
    tensors, size = draft.get(SectionId.TENSORS), TENSOR_BYTES
    count = len(tensors) // size
    if count < 2:
        return
    one, other = (rng.randrange(count) * size for _ in range(2))
    start, end = rng.choice(((0, size), (16, 32), (16, 24), (32, 40)))
    a, b = slice(one + start, one + end), slice(other + start, other + end)
    if rng.random() < 0.5:
        tensors[a], tensors[b] = tensors[b], tensors[a]
    else:
        tensors[a] = tensors[b]
    draft.put(SectionId.TENSORS, tensors)


def retype_tensor(rng: random.Random, draft: Draft) -> None:
    """Another format, layout or shape, the size made right; the bytes are what they were."""
    tensors, size = draft.get(SectionId.TENSORS), TENSOR_BYTES
    if not tensors:
        return
    at = rng.randrange(len(tensors) // size) * size
    fmt, layout, rows, cols = struct.unpack_from("<IIII", tensors, at)
    choice = rng.randrange(4)
    if choice == 0:
        fmt = rng.choice([one.id for one in formats().values()])
    elif choice == 1:
        layout = rng.choice(list(Layout))
    elif choice == 2:
        rows = max(1, rows + rng.choice((1, -1, 16, -16, rows)))
    else:
        rows, cols = cols, rows
    struct.pack_into("<IIII", tensors, at, fmt, layout, rows, cols)
    struct.pack_into("<Q", tensors, at + TENSOR_AT["size"], format_of(fmt).tensor_bytes(Layout(layout), rows, cols))
    draft.put(SectionId.TENSORS, tensors)


def spoil_weights(rng: random.Random, draft: Draft) -> None:
    """Random bytes, -128, NaN of every kind, infinities and subnormals somewhere in the weights."""
    weights = draft.get(SectionId.WEIGHTS)
    if len(weights) < 256:
        return
    for _ in range(rng.randrange(1, 6)):
        at, size = rng.randrange(len(weights) - 128) & ~3, 4 * rng.randrange(1, 32)
        choice = rng.randrange(4)
        if choice == 0:
            weights[at : at + size] = rng.randbytes(size)
        elif choice == 1:
            weights[at : at + size] = b"\x80" * size
        elif choice == 2:
            weights[at : at + size] = struct.pack("<I", rng.choice(NAN_BITS)) * (size // 4)
        else:
            weights[at : at + size] = struct.pack("<HH", rng.choice(NAN_BITS) >> 16, 0x3F80) * (size // 4)
    draft.put(SectionId.WEIGHTS, weights)


def change_state(rng: random.Random, draft: Draft) -> None:
    """Another cache: its size and the plan's sums made right."""
    states, size = draft.get(SectionId.STATES), STATE_BYTES
    if not states:
        return
    at = rng.randrange(len(states) // size) * size
    choice = rng.randrange(5)
    if choice == 0:
        put(states, at, rng.choice((Format.F32, Format.KV8)))
    elif choice == 1:
        put(states, at + STATE_AT["kv_heads"], rng.choice((1, 2, 3, 4)))
    elif choice == 2:
        put(states, at + STATE_AT["head_dim"], rng.choice((8, 16, 24, 32, 64, 128, 256)))
    elif choice == 3:
        put(states, at + STATE_AT["window"], rng.choice(SMALL_COUNTS))
    else:
        put(states, at + STATE_AT["sinks"], rng.choice(SMALL_COUNTS[:8]))
    draft.put(SectionId.STATES, states)
    balance(draft)


def change_plan(rng: random.Random, draft: Draft) -> None:
    """Other numbers, and all that follows from them made right."""
    name = rng.choice(("context", "max_rows", "max_logit_rows", "sessions", "vocab", "overflow", "output_stride"))
    values = {"overflow": (0, 1), "sessions": (1, 2, 3, 5, 8), "max_rows": SMALL_COUNTS, "output_stride": SMALL_COUNTS}
    set_plan(draft, **{name: rng.choice(values.get(name, SMALL_COUNTS))})
    if rng.random() < 0.3:
        arena = struct.unpack_from("<Q", draft.get(SectionId.PLAN), PLAN_AT["arena_bytes"])[0]
        set_plan(draft, arena_bytes=arena + 64 * rng.choice((-1, 1, 64, 1024)))
    if rng.random() < 0.9:
        balance(draft)


def grow(rng: random.Random, draft: Draft) -> None:
    """What a later version may bring: a longer plan, as often of zeros as not; a byte of a record's tail; a kind."""
    section, size = rng.choice(
        (
            (SectionId.PLAN, 0),
            (SectionId.PROGRAM, OP_BYTES),
            (SectionId.STATES, STATE_BYTES),
            (SectionId.TENSORS, TENSOR_BYTES),
        )
    )
    data = draft.get(section)
    if section == SectionId.PLAN:
        more = bytearray(rng.choice((4, 64, 500, 5000)))
        if rng.random() < 0.5:
            more[rng.randrange(len(more))] = 1
        data += more
    else:
        data[rng.randrange(len(data) // size) * size + size - 1 - rng.randrange(24)] = rng.choice((1, 255))
    draft.put(section, data)
    if rng.random() < 0.2:
        set_plan(draft, **{rng.choice(("output_kind", "output_whole_step", "flags")): rng.randrange(3)})


def balance(draft: Draft) -> None:
    """Pages of the states, and the plan's sum of memory, from what else stands there."""
    plan, states, size = draft.get(SectionId.PLAN), draft.get(SectionId.STATES), STATE_BYTES
    context, rows, sessions, overflow, vocab = (
        get(plan, PLAN_AT[name]) for name in ("context", "max_rows", "sessions", "overflow", "vocab")
    )
    pages, largest = [], 0
    for at in range(0, len(states), size):
        fmt, heads, dim, window, sinks = struct.unpack_from("<IIIII", states, at + STATE_AT["format"])
        if fmt not in set(Format) or context > 1 << 20 or max(heads, dim, window) > 1 << 16:
            return
        pages.append(state_pages(context, rows, window, sinks, Overflow(overflow & 1)))
        page = page_bytes(Format(fmt), heads, dim)
        put(states, at + STATE_AT["pages"], pages[-1])
        put(states, at + STATE_AT["page_bytes"], page)
        largest = max(largest, page)
    draft.put(SectionId.STATES, states)
    set_plan(draft, output_width=vocab, runtime_bytes=runtime_bytes(sessions, context, vocab, pages, largest))


def widen_partial(rng: random.Random, draft: Draft) -> None:
    """A longer context, and room for attention's partial results behind all else: or, seldom, on top of it."""
    plan, program = draft.get(SectionId.PLAN), draft.get(SectionId.PROGRAM)
    arena = struct.unpack_from("<Q", plan, PLAN_AT["arena_bytes"])[0]
    states, size, room = draft.get(SectionId.STATES), STATE_BYTES, 0
    set_plan(draft, context=rng.choice((300, 520)))
    for i in range(count_ops(program)):
        if op_id(program, i) != OpId.ATTENTION:
            continue
        base = i * OP_BYTES + OP_HEAD
        state = get(program, base + FIELDS[OpId.ATTENTION]["state"][0]) * size
        if state + size > len(states):
            return
        dim, window, sinks = (get(states, state + STATE_AT[name]) for name in ("head_dim", "window", "sinks"))
        chunks = partial_chunks(520, window, sinks, Overflow.SLIDE)
        heads = get(program, base + FIELDS[OpId.ATTENTION]["heads"][0])
        room = max(room, heads * chunks * align(dim + 2, 16) * 4)
        place = arena // 64 if rng.random() < 0.8 else rng.randrange(arena // 64)
        put(program, base + FIELDS[OpId.ATTENTION]["partial"][0] + 4, place)
    draft.put(SectionId.PROGRAM, program)
    set_plan(draft, arena_bytes=align(arena + min(room, 1 << 20), 64))
    balance(draft)


# ---- sections, tables ----


def order_sections(rng: random.Random, draft: Draft) -> None:
    """Sections swapped, doubled, dropped, cut, under another id, unknown ones; bytes behind the hashes."""
    parts, way = draft.sections, rng.randrange(7)
    one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    section, flags, data = parts[one]
    if way == 0:
        parts[one], parts[other] = parts[other], parts[one]
    elif way == 1:
        parts.insert(other, parts[one])
    elif way == 2 and len(parts) > 1:
        parts.pop(one)
    elif way == 3:
        parts[one] = (section, flags, data[: rng.randrange(len(data) + 1)])
    elif way == 4:
        parts[one] = (parts[other][0], flags, data)
    elif way == 5:
        parts.insert(one, (rng.randrange(10, 40), rng.randrange(2), rng.randbytes(rng.randrange(64))))
    else:
        draft.tail = bytes(rng.randrange(256)) + rng.randbytes(rng.randrange(2)) + bytes(rng.choice((0, 4096)))


def change_header(rng: random.Random, draft: Draft) -> None:
    name = rng.choice(("version_minor", "file_size", "payload_size", "image_version", "flags", "hash", "section_count"))
    draft.header[name] = rng.choice((0, 1, 2, 4096, 8192, 65536, 0xFFFFFFFF))


def change_tables(rng: random.Random, draft: Draft) -> None:
    """Tokenizer tables: counts, merges in another order, ids, a part doubled, added tokens."""
    if any(section == SectionId.TOKENS for section, _, _ in draft.sections):
        change_tokens(rng, draft)
        return
    data = draft.get(SectionId.BPE)
    if len(data) < 2048:
        return
    choice = rng.randrange(4)
    if choice == 0:
        at = rng.choice(list(BPE_AT.values()))
        put(data, at, rng.choice((0, 1, 2, 3, 256, get(data, at) + 1, get(data, at) - 1)))
    elif choice == 1:
        at = 48 + 4 * rng.randrange((len(data) - 64) // 4)
        put(data, at, rng.choice((get(data, at) + 1, rng.randrange(300), get(data, 48 + 4 * rng.randrange(256)))))
    elif choice == 2:
        one, other = (48 + 16 * rng.randrange((len(data) - 64) // 16) for _ in range(2))
        data[one : one + 16], data[other : other + 16] = data[other : other + 16], data[one : one + 16]
    else:
        add_tokens(rng, data)
    draft.put(SectionId.BPE, data)


def change_tokens(rng: random.Random, draft: Draft) -> None:
    """The section TOKENS: fields of its head, words and half words anywhere, two words swapped."""
    data, words = draft.get(SectionId.TOKENS), (0, 1, 2, 3, 5, 8, 255, 256, 0x7FFF, 0x8000, 0xFFFFFFFF)
    for _ in range(rng.randrange(1, 4)):
        choice, at = rng.randrange(4), 4 * rng.randrange(len(data) // 4 - 1)
        if choice == 0:
            at = rng.choice(list(TOKENS_AT.values()))
            put(data, at, rng.choice((*words, get(data, at) + 1, get(data, at) - 1)) & 0xFFFFFFFF)
        elif choice == 1:
            put(data, at, rng.choice((*words, get(data, at) ^ 1 << rng.randrange(32))) & 0xFFFFFFFF)
        elif choice == 2:
            struct.pack_into("<H", data, at + 2 * rng.randrange(2), rng.choice(words) & 0xFFFF)
        else:
            other = 4 * rng.randrange(len(data) // 4 - 1)
            data[at : at + 4], data[other : other + 4] = data[other : other + 4], data[at : at + 4]
    draft.put(SectionId.TOKENS, data)


def add_tokens(rng: random.Random, data: bytearray) -> None:
    """More added tokens, which are known ones, some of them twice."""
    vocab, merges, ordered, added = (
        get(data, BPE_AT[name]) for name in ("vocab", "merge_count", "sorted_count", "added_count")
    )
    at = 48 + 1024 + 4 * (vocab + 1) + 16 * merges + 4 * ordered
    if at + 8 * added > len(data) or not vocab:
        return
    count = rng.choice((1, 2, 10, 200))
    more = [(rng.randrange(vocab), rng.randrange(2)) for _ in range(count)]
    data[at:at] = b"".join(struct.pack("<II", *entry) for entry in more)
    put(data, BPE_AT["added_count"], added + count)
