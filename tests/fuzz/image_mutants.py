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

from host.schema.image import (
    OP_BYTES,
    SectionId,
)
from tests.fuzz.image_parts import (
    Draft,
    count_ops,
    set_program,
    take_apart,
)
from tests.fuzz.mutate_program import (
    alias_operand,
    change_field,
    flip_domain,
    move_buffer,
    nudge_operand,
    relocate_program,
    reorder_ops,
    reshape_op,
    swap_operands,
)
from tests.fuzz.mutate_tables import (
    change_header,
    change_plan,
    change_state,
    change_tables,
    grow,
    order_sections,
    permute_tensors,
    retype_tensor,
    spoil_weights,
    widen_partial,
)


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
