# SPDX-License-Identifier: Apache-2.0
"""Made-up graphs: weights at hand, and an image of a graph that no family builds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from host.compiler.compile import Compiled, Options, compile_graph
from host.files.source import Source
from host.image.writer import write_image
from host.ir.graph import Graph
from host.ir.value import Weight
from tests.support.tiny import MemoryTensor

F32 = npt.NDArray[np.float32]


def weight(name: str, values: F32) -> Weight:
    """A weight [rows][cols] of these values."""
    return Weight(name, (MemoryTensor(name, values),))


def graph_image(path: Path, graph: Graph, options: Options) -> Compiled:
    """Compile the graph and write its image, which has no tokenizer."""
    compiled = compile_graph(graph, None, options)
    write_image(path, Source("made-up", {}, {}, None, "made-up", {}), compiled, {"name": "made-up"})
    return compiled
