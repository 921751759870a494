# SPDX-License-Identifier: Apache-2.0
"""The fastest that a board can decode an image: what a token reads, at the speed of the board's memory.

A bound, no forecast: S. Williams et al., "Roofline: An Insightful Visual Performance Model", 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from host.bench.traffic import total_traffic, traffic_by_group
from host.boards import Board, Roofline, board_names, load_board
from host.compiler.compile import LAYOUTS, Compiled
from host.image.reader import Image
from host.ir.program import OpEntry, Program, TensorEntry, Traffic
from host.ops import decode_op
from host.schema.image import Layout

LEAN_MACS = 6
"""Of a board's ``hart_mmac_s``, what a byte in layout LEAN takes: 1.6 cycles on the U74 model, of 4 each."""


@dataclass(frozen=True)
class Planned:
    """A compiled model as a Program, before there is an image."""

    ops: Sequence[OpEntry]
    tensors: Sequence[TensorEntry]
    states: Sequence[dict[str, Any]]
    plan: dict[str, Any]


@dataclass(frozen=True)
class Bound:
    """Tokens a second at most, in an empty and in a full context; bytes that a token reads in the empty one."""

    empty: float
    full: float
    token_bytes: float
    roofline: Roofline

    def words(self) -> str:
        """For people."""
        return (
            f"at most {self.empty:.1f} tokens/s, {self.full:.1f} in a full context: a token reads "
            f"{self.token_bytes / 1e6:.1f} MB, the board's memory gives {self.roofline.read_mb_s / 1e3:.1f} GB/s"
        )


def bound_seconds(traffic: Traffic, roofline: Roofline, harts: int) -> float:
    """The least time that a token can take: its bytes at the memory's speed or its MACs at the harts' speed."""
    memory = traffic.bytes / (roofline.read_mb_s * 1e6)
    arithmetic = traffic.macs / (roofline.hart_mmac_s * 1e6 * harts)
    return max(memory, arithmetic)


def board_layout(board: Board, order: str) -> Layout:
    """The layout of that name; LEAN in place of SWAR where the board's harts wait for its memory even then."""
    layout, roofline = LAYOUTS[order], board.roofline
    if layout == Layout.SWAR and roofline:
        arithmetic = roofline.hart_mmac_s * len(board.harts.ids) / LEAN_MACS
        return Layout.LEAN if roofline.read_mb_s < arithmetic else layout
    return layout


def planned(compiled: Compiled) -> Planned:
    """The program that ``write_image`` would write."""
    specs = compiled.lowered.tensors
    return Planned(
        [decode_op(index, data) for index, data in enumerate(compiled.lowered.ops)],
        [TensorEntry(i, t.name, t.format, t.layout, t.rows, t.cols, t.offset, t.size) for i, t in enumerate(specs)],
        [vars(state) for state in compiled.lowered.states],
        dict(compiled.plan),
    )


def decode_bound(program: Program, board: Board) -> Bound | None:
    """What all harts of the board can decode at most, one session; None where nobody measured the board's memory.

    None, too, for a program whose operands are out of range: a loader would refuse it.
    """
    if board.roofline is None:
        return None
    last = max(0, program.plan["context"] - 1)
    try:
        costs = [total_traffic(traffic_by_group(program, 1, at, 1, logits_each=True)) for at in (0, last)]
        empty, full = (1 / bound_seconds(cost, board.roofline, len(board.harts.ids)) for cost in costs)
    except (IndexError, KeyError, ZeroDivisionError):
        return None
    return Bound(empty, full, costs[0].bytes, board.roofline)


def image_bound(image: Image) -> Bound | None:
    """What the board that an image was packed for can decode at most; None where nobody can tell."""
    name = image.manifest.get("board")
    return decode_bound(image, load_board(name)) if name in board_names() else None
