# SPDX-License-Identifier: Apache-2.0
"""A new op is one file in Python and one in C; so is a new weight format, that of docs/adding-a-format.md.

An op's test is a third file. No list has to be touched. Both stand in one copy, whose firmware is compiled once.
"""

from __future__ import annotations

import re

import pytest

from tests.support.scratch import ROOT, Scratch, copy_checkout

PAGE = ROOT / "docs/adding-a-format.md"
EXAMPLE = re.compile(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)

HOST = '''# SPDX-License-Identifier: Apache-2.0
"""CLAMP: rows with no element beyond a limit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from construct import Float32l, Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value
from host.schema.fields import choice
from host.schema.image import Operand


class ClampSide(IntEnum):
    """From which side an element is limited."""

    ABOVE = 0
    BOTH = 1


FIELDS = Struct(
    "src" / Operand,  # f32 [rows][width]
    "dst" / Operand,  # f32 [rows][width], may be src
    "side" / choice(ClampSide),
    "width" / Int32ul,
    "limit" / Float32l,
)


@dataclass(eq=False)
class Clamp(Node):
    """dst = min(src, limit); from both sides no less than -limit."""

    reads = ("src",)
    overwrites = ("src",)
    src: Value
    dst: Value
    side: ClampSide
    limit: float

    def lower(self, at: Lowering) -> Fields:
        """Two places and what to do."""
        places = {"src": at.operand(self.src), "dst": at.operand(self.dst)}
        return {**places, "side": self.side, "width": self.src.width, "limit": self.limit}


def clamp(b: Builder, name: str, x: Value, limit: float, side: ClampSide = ClampSide.BOTH) -> Value:
    """[rows][width] with no element beyond ``limit``."""
    dst = b.value(name, x.width)
    b.append(Clamp(x, dst, side, limit))
    return dst


OP = Op(4000, 1, FIELDS, Clamp)
'''
FIRMWARE = """/* SPDX-License-Identifier: Apache-2.0 */

/* Rows with no element beyond a limit. */

#include "gen/errors.h"
#include "image/reader.h"

struct OP_BODY op_clamp {
    struct op_f32 src;
    struct op_f32 dst;
    uint32_t side;
    uint32_t width;
    float limit;
};
_Static_assert(sizeof(struct op_clamp) <= OP_BODY_BYTES, "see op.h");

static float clamp(const struct op_clamp *c, float x)
{
    if (x > c->limit)
        return c->limit;
    return c->side == IMAGE_CLAMP_SIDE_BOTH && x < -c->limit ? -c->limit : x;
}

static void op_clamp(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_clamp *c = op_body(op);
    uint32_t rows = step_count(step, op->domain);
    for (uint32_t row = hart; row < rows; row += harts)
        for (uint32_t i = 0; i < c->width; i++)
            op_f32_row(&c->dst, row)[i] = clamp(c, op_f32_row(&c->src, row)[i]);
}

static int decode_clamp(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_clamp o = {.side = image_op_clamp_side(p),
                         .width = image_op_clamp_width(p),
                         .limit = image_op_clamp_limit(p)};

    if (o.side > IMAGE_CLAMP_SIDE_BOTH || reader_check_width(o.width) ||
        reader_check_float(o.limit, 0.0f, 1e30f) ||
        reader_read_f32_in_place(r, p + IMAGE_OP_CLAMP_SRC_OFFSET, o.width, &o.src) ||
        reader_write_f32(r, p + IMAGE_OP_CLAMP_DST_OFFSET, o.width, &o.dst))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_clamp = {.version = 1, .decode = decode_clamp, .run = op_clamp};
"""
TEST = '''# SPDX-License-Identifier: Apache-2.0
"""CLAMP by itself, and in a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host.bench.traffic import traffic_by_group
from host.compiler.compile import Options
from host.errors import DeviceFailure
from host.image.inspect import image_text
from host.image.reader import Image
from host.ir.builder import Builder
from host.ir.graph import Graph
from host.ops.clamp import ClampSide, clamp
from host.ops.embed import embed
from host.ops.gather import gather
from host.ops.linear import linear
from host.schema.formats import formats
from host.schema.image import Format
from tests.support.graphs import graph_image, weight
from tests.support.native import Native
from tests.support.ops import FLOAT, U32, OpF32, Rows, normal, run_op, same, steps, struct

CLAMP = struct("Clamp", src=OpF32, dst=OpF32, side=U32, width=U32, limit=FLOAT)
F32 = Options(weights=formats()["f32"], kv=Format.F32)


def model() -> tuple[Graph, np.ndarray, np.ndarray]:
    table, head = normal(20, 48), normal(20, 48, seed=1)
    b = Builder(Graph(20, 48, 0, 64, learned_positions=False))
    x = gather(b, clamp(b, "clamped", embed(b, weight("table", table)), 0.5))
    b.graph.logits = linear(b, "logits", x, weight("head", head), output=True)
    return b.graph, table, head


def test_by_itself(device: Native) -> None:
    x, dst = normal(5, 40), Rows(rows=5, width=40)
    for side, low in ((ClampSide.ABOVE, -np.inf), (ClampSide.BOTH, -0.5)):
        step, alive = steps(5)
        src = Rows(x)
        run_op(device, "clamp", step, CLAMP(src.operand, dst.operand, side, 40, 0.5))
        same(dst.values, np.clip(x, np.float32(low), np.float32(0.5)))
        assert dst.untouched
        assert alive


def test_it_is_packed_and_shown(tmp_path: Path) -> None:
    graph_image(tmp_path / "model.hsp", model()[0], F32)
    image = Image(tmp_path / "model.hsp")
    assert [op.name for op in image.ops] == ["embed", "clamp", "gather", "linear"]
    assert image.ops[1].fields["side"] is ClampSide.BOTH
    places = image.ops[1].fields
    assert places["src"] == places["dst"]
    shown = [line for line in image_text(image) if "clamp(" in line]
    assert len(shown) == 1
    assert "side=BOTH width=48 limit=0.5" in shown[0]
    assert "clamp" in traffic_by_group(image, 1, 0, 1, logits_each=True)


def test_in_a_model(device: Native, tmp_path: Path) -> None:
    graph, table, head = model()
    graph_image(tmp_path / "model.hsp", graph, F32)
    device.load(tmp_path / "model.hsp")
    expected = np.clip(table[[3, 7, 19]], -0.5, 0.5) @ head.T
    np.testing.assert_allclose(device.feed([3, 7, 19], every=True), expected, rtol=1e-4, atol=1e-5)


def test_a_limit_that_is_no_number_is_refused(native: Native, tmp_path: Path) -> None:
    graph, _, _ = model()
    graph.nodes[1].limit = float("nan")  # type: ignore[attr-defined]
    graph_image(tmp_path / "model.hsp", graph, F32)
    with pytest.raises(DeviceFailure, match="IMAGE_OP"):
        native.load(tmp_path / "model.hsp")
'''


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    found = Scratch(copy_checkout(tmp_path_factory.mktemp("parts")))
    found.add("host/ops/clamp.py", HOST)
    found.add("firmware/ops/clamp.c", FIRMWARE)
    found.add("tests/ops/test_clamp.py", TEST)
    files = dict(EXAMPLE.findall(PAGE.read_text()))
    assert sorted(files) == ["firmware/formats/q5.h", "host/schema/formats/q5.py"]
    for name, text in files.items():
        found.add(name, text)
    return found


def test_they_are_in_the_headers(scratch: Scratch) -> None:
    lines = {"image": "#define IMAGE_CLAMP_SIDE_BOTH 0x1u", "formats": "X(Q5, RVV, scalar_linear_q5_rvv)"}
    for kind, line in lines.items():
        header = scratch.folder / f"{kind}.h"
        scratch.run("tools.gen_headers", kind, str(header))
        assert line in header.read_text()


def test_they_are_offered_and_run(scratch: Scratch) -> None:
    """Each by itself and in a model, packed and shown; tests name a format because they read the folder."""
    assert "q5" in scratch.run("host", "pack", "--help")
    where = (
        "tests/unit/test_quant.py",
        "tests/unit/test_image.py",
        "tests/unit/test_kernels.py",
        "tests/unit/test_op_records.py",
        "tests/unit/test_compiler.py",
        "tests/ops/test_clamp.py",
        "tests/ops/test_embed.py",
        "tests/ops/test_linear.py",
    )
    chosen = "q5 or clamp or op_records or near_f32 or same_logits or list or round_trip"
    said = scratch.test(*where, "-k", chosen, timeout=900)
    assert int(re.search(r"(\d+) passed", said)[1]) > 40  # type: ignore[index]


@pytest.mark.slow
def test_the_command_line_knows_the_format(scratch: Scratch) -> None:
    scratch.test("tests/strangers/test_command_line.py", "tests/strangers/test_what_fits.py")


@pytest.mark.slow
def test_the_example_of_the_page_is_typed(scratch: Scratch) -> None:
    scratch.run("mypy", "host/schema/formats/q5.py")


@pytest.mark.slow
def test_a_format_is_the_same_on_every_core(scratch: Scratch) -> None:
    scratch.test("tests/unit/test_kernels.py", "-k", "agree or spike", timeout=900)
