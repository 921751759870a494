# SPDX-License-Identifier: Apache-2.0
"""Changes of an image's program: operands, buffers, the order of ops, their fields."""

from __future__ import annotations

import random
import struct

from host.ops import OpId
from host.schema.image import (
    OP_BYTES,
    SectionId,
)
from tests.fuzz.image_parts import (
    FIELDS,
    OP_HEAD,
    OPERANDS,
    PLAN_AT,
    SCALARS,
    Draft,
    all_operands,
    count_ops,
    get,
    op_id,
    put,
    set_plan,
    set_program,
    some_operand,
)

FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-6, 1e6, 1e-30, 3e38, 1e-45, float("inf"), float("-inf"), float("nan"))
SMALL_COUNTS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 256, 257, 300)


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
