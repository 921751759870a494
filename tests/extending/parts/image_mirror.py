# SPDX-License-Identifier: Apache-2.0
"""Writes the image of a model with the op MIRROR, and the tables it was made from: two files, named as arguments."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from host.ops.mirror import mirror  # type: ignore[import-not-found]  # in the copy alone

from host.compiler.compile import Options, compile_graph
from host.files.source import Source
from host.image.writer import write_image
from host.ir.builder import Builder
from host.ir.graph import Graph
from host.ir.value import Weight
from host.ops.embed import embed
from host.ops.gather import gather
from host.ops.linear import linear
from host.schema.formats.f32 import F32
from tests.support.tiny import MemoryTensor

VOCAB, WIDTH = 70, 48


def main(image: Path, arrays: Path) -> None:
    rng = np.random.default_rng(5)
    tables = {name: rng.standard_normal((VOCAB, WIDTH)).astype(np.float32) for name in ("embedding", "head")}
    weights = {name: Weight(name, (MemoryTensor(name, values),)) for name, values in tables.items()}
    graph = Graph(VOCAB, WIDTH, 1, max_context=64, learned_positions=False)
    b = Builder(graph)
    x = mirror(b, "mirrored", embed(b, weights["embedding"]))
    graph.logits = linear(b, "logits", gather(b, x), weights["head"], output=True)
    compiled = compile_graph(graph, None, Options(weights=F32))
    write_image(image, Source("made_up", {}, {}, None, "mirror", {}), compiled, {})
    np.savez(arrays, **tables)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
