# SPDX-License-Identifier: Apache-2.0
"""The second mutator of images: it takes one apart into what its parts mean, changes the meaning, and seals it again.

The first (image_fuzz.py, fuzz_image.c) edits words where they stand. This one moves whole buffers onto others, swaps
operands, reorders, doubles and drops ops, permutes tensors and states, gives the plan other numbers with all sums made
right, puts NaN, infinities and -128 into weights, orders sections anew, splices two images, and does several of these
at once. So most of what it makes is consistent in itself, and a fifth or more is accepted.
"""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable
from pathlib import Path

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
    OPERANDS,
    PLAN_AT,
    SCALARS,
    STATE_AT,
    STATE_BYTES,
    TENSOR_AT,
    TENSOR_BYTES,
    Draft,
    all_operands,
    count_ops,
    get,
    op_id,
    put,
    set_plan,
    set_program,
    some_operand,
    take_apart,
)

FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-6, 1e6, 1e-30, 3e38, 1e-45, float("inf"), float("-inf"), float("nan"))
NAN_BITS = (0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000, 0x00000001, 0x80000000)
SMALL_COUNTS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 256, 257, 300)


# ---- mutations of the program ----


def swap_operands(rng: random.Random, draft: Draft) -> None:
    """Two operands, of one op as often as not, change places."""
    program = draft.get(SectionId.PROGRAM)
    one = some_operand(rng, program)
    index = one // OP_BYTES
    near = [index * OP_BYTES + at for at in OPERANDS[op_id(program, index)]]
    other = rng.choice(near) if rng.random() < 0.5 else some_operand(rng, program)
    program[one : one + 16], program[other : other + 16] = program[other : other + 16], program[one : one + 16]
    draft.put(SectionId.PROGRAM, program)


def alias_operand(rng: random.Random, draft: Draft) -> None:
    """An operand goes where another one lies, or a little beside it; its own shape is kept, or not."""
    program = draft.get(SectionId.PROGRAM)
    one, other = some_operand(rng, program), some_operand(rng, program)
    put(program, one + 4, get(program, other + 4) + rng.choice((0, 0, 0, 1, -1, 2, 3, -2, 8)))
    if rng.random() < 0.5:
        put(program, one + 8, get(program, other + 8))
    if rng.random() < 0.2:
        put(program, one + 12, get(program, other + 12))
    draft.put(SectionId.PROGRAM, program)


def move_buffer(rng: random.Random, draft: Draft) -> None:
    """All operands that begin at one place, and the logits if they do, go to another: lifetimes meet."""
    program = draft.get(SectionId.PROGRAM)
    places = sorted({get(program, at + 4) for at in all_operands(program) if get(program, at)})
    if not places:
        return
    old, new = rng.choice(places), rng.choice(places) + rng.choice((0, 0, 1, -1, 4, 16))
    first = rng.randrange(count_ops(program)) if rng.random() < 0.5 else 0
    for at in all_operands(program):
        if get(program, at) and get(program, at + 4) == old and at >= first * OP_BYTES:
            put(program, at + 4, new)
    draft.put(SectionId.PROGRAM, program)
    plan = draft.get(SectionId.PLAN)
    if get(plan, PLAN_AT["output_offset"]) == old and rng.random() < 0.8:
        set_plan(draft, output_offset=new & 0xFFFFFFFF)


def nudge_operand(rng: random.Random, draft: Draft) -> None:
    """Column, stride or place of an operand."""
    program = draft.get(SectionId.PROGRAM)
    at = some_operand(rng, program) + rng.choice((4, 8, 12))
    put(program, at, get(program, at) + rng.choice((1, -1, 2, 8, 16, -16, 32)))
    draft.put(SectionId.PROGRAM, program)


def relocate_program(rng: random.Random, draft: Draft) -> None:
    """Everything further up, into a larger arena: nothing is wrong."""
    program, by = draft.get(SectionId.PROGRAM), rng.randrange(1, 64)
    for at in all_operands(program):
        if get(program, at):
            put(program, at + 4, get(program, at + 4) + by)
    plan = draft.get(SectionId.PLAN)
    arena = struct.unpack_from("<Q", plan, PLAN_AT["arena_bytes"])[0]
    draft.put(SectionId.PROGRAM, program)
    set_plan(draft, output_offset=get(plan, PLAN_AT["output_offset"]) + by, arena_bytes=arena + 64 * by)


def reorder_ops(rng: random.Random, draft: Draft) -> None:
    """Two ops change places, or one is moved, doubled or dropped."""
    program = draft.get(SectionId.PROGRAM)
    ops = [program[i : i + OP_BYTES] for i in range(0, len(program), OP_BYTES)]
    one, other, way = rng.randrange(len(ops)), rng.randrange(len(ops)), rng.randrange(5)
    if rng.random() < 0.4:
        other = min(one + 1, len(ops) - 1)
    if way == 0:
        ops[one], ops[other] = ops[other], ops[one]
    elif way == 1:
        ops.insert(other, ops.pop(one))
    elif way == 2:
        ops.insert(other, ops[one])
    elif way == 3:
        ops.insert(one, ops[one])
    elif len(ops) > 1:
        ops.pop(one)
    set_program(draft, b"".join(ops))


def change_field(rng: random.Random, draft: Draft) -> None:
    """A field of an op: a small number, a neighbour's, a float, or one more or less."""
    program = draft.get(SectionId.PROGRAM)
    index = rng.randrange(count_ops(program))
    at = index * OP_BYTES + rng.choice(SCALARS[op_id(program, index)])
    value = get(program, at)
    choice = rng.randrange(5)
    if choice == 0:
        value = rng.choice(SMALL_COUNTS)
    elif choice == 1:
        value = get(program, index * OP_BYTES + rng.choice(SCALARS[op_id(program, index)]))
    elif choice == 2:
        value = struct.unpack("<I", struct.pack("<f", rng.choice(FLOATS)))[0]
    elif choice == 3:
        value += rng.choice((1, -1, 8, -8))
    else:
        value = value // 2 if rng.random() < 0.5 else value * 2
    put(program, at, value)
    draft.put(SectionId.PROGRAM, program)


def reshape_op(rng: random.Random, draft: Draft) -> None:
    """Two fields of an op that belong together: segments and width, heads and their size, style and activation."""
    program = draft.get(SectionId.PROGRAM)
    index = rng.randrange(count_ops(program))
    op, base = op_id(program, index), index * OP_BYTES + OP_HEAD
    at = {name: base + place for name, (place, _) in FIELDS[op].items()}
    if op == OpId.NORM:
        width, parts = get(program, at["width"]) * get(program, at["segments"]), rng.choice((1, 2, 4))
        put(program, at["segments"], parts)
        put(program, at["width"], width // parts)
        put(program, at["weight"], 0xFFFFFFFF)
        put(program, at["bias"], 0xFFFFFFFF)
    elif op == OpId.ROPE:
        put(program, at["style"], rng.randrange(2))
        put(program, at["rotary"], rng.choice((2, 4, 8, get(program, at["rotary"]))))
    elif op == OpId.ATTENTION:
        put(program, at["softcap"], struct.unpack("<I", struct.pack("<f", rng.choice((0.0, 5.0, 30.0, 1e-38))))[0])
        put(program, at["scale"], struct.unpack("<I", struct.pack("<f", rng.choice((1e-6, 0.1, 1.0, 1e6))))[0])
    elif op == OpId.LINEAR:
        put(program, at["activation"], rng.randrange(5))
        if rng.random() < 0.3:
            put(program, at["residual"], 0)
        if rng.random() < 0.3:
            put(program, at["bias"], 0xFFFFFFFF)
    elif op == OpId.ELTWISE:
        put(program, at["kind"], rng.randrange(5))
        put(program, at["activation"], rng.randrange(5))
    draft.put(SectionId.PROGRAM, program)


def flip_domain(rng: random.Random, draft: Draft) -> None:
    """An op, or all from one on, on other rows; seldom another op with the same bytes."""
    program = draft.get(SectionId.PROGRAM)
    index = rng.randrange(count_ops(program))
    last = index if rng.random() < 0.6 else count_ops(program) - 1
    for i in range(index, last + 1):
        program[i * OP_BYTES + 4] ^= 1
    if rng.random() < 0.2:
        struct.pack_into("<H", program, index * OP_BYTES, rng.choice(list(OpId)))
    draft.put(SectionId.PROGRAM, program)


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


def splice(rng: random.Random, draft: Draft, other: Draft) -> None:
    """Sections, ops or weights of another image."""
    way = rng.randrange(4)
    if way == 0:
        section = rng.choice(other.sections)
        draft.put(section[0], section[2])
    elif way == 1:
        for section in (SectionId.PROGRAM, SectionId.TENSORS, SectionId.STATES, SectionId.PLAN):
            if rng.random() < 0.7:
                draft.put(section, other.get(section))
    elif way == 2:
        weights, theirs = draft.get(SectionId.WEIGHTS), other.get(SectionId.WEIGHTS)
        weights[: min(len(weights), len(theirs))] = theirs[: len(weights)]
        draft.put(SectionId.WEIGHTS, weights)
    else:
        program, theirs = draft.get(SectionId.PROGRAM), other.get(SectionId.PROGRAM)
        index, theirs_index = rng.randrange(count_ops(program)), rng.randrange(count_ops(theirs))
        piece = theirs[theirs_index * OP_BYTES : (theirs_index + rng.randrange(1, 4)) * OP_BYTES]
        program[index * OP_BYTES : index * OP_BYTES + (len(piece) if rng.random() < 0.5 else 0)] = piece
        set_program(draft, program)


Mutation = Callable[[random.Random, Draft], None]
MUTATIONS: list[tuple[int, Mutation]] = [
    (10, swap_operands),
    (14, alias_operand),
    (14, move_buffer),
    (5, nudge_operand),
    (3, relocate_program),
    (12, reorder_ops),
    (8, change_field),
    (12, reshape_op),
    (4, flip_domain),
    (8, permute_tensors),
    (5, retype_tensor),
    (16, spoil_weights),
    (6, change_state),
    (8, change_plan),
    (5, widen_partial),
    (2, grow),
    (3, order_sections),
    (1, change_header),
    (5, change_tables),
]


class Mutator:
    """Mutants of some images, all from one seed: the n-th is the same in every run."""

    def __init__(self, images: list[Path], seed: int) -> None:
        self._bases = [take_apart(path.read_bytes()) for path in images]
        self._seed = seed
        self._kinds = [mutation for _, mutation in MUTATIONS]
        self._shares = [share for share, _ in MUTATIONS]

    def make(self, index: int) -> bytes:
        """The index-th mutant, a file's bytes."""
        rng = random.Random(self._seed << 32 | index)
        base = rng.choice(self._bases)
        draft = Draft(list(base.sections), rng.randrange(4))
        if rng.random() < 0.06:
            splice(rng, draft, rng.choice(self._bases))
        for mutation in rng.choices(self._kinds, self._shares, k=rng.choice((1, 1, 1, 2, 2, 3))):
            # One that finds nothing to work on, for another broke it before, is left out.
            with contextlib.suppress(struct.error, IndexError, ValueError, ZeroDivisionError):
                mutation(rng, draft)
        return draft.seal(rng)
