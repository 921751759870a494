# SPDX-License-Identifier: Apache-2.0
"""Model architectures: each module builds the unfused graph of one Hugging Face model_type."""

from __future__ import annotations

from collections.abc import Callable

from host.arch import gpt2, llama
from host.compiler.graph import Graph
from host.errors import SourceError
from host.importer.source import Source

ARCHITECTURES: dict[str, Callable[[Source], Graph]] = {"llama": llama.build, "gpt2": gpt2.build}
"""By model_type."""


def build_graph(source: Source) -> Graph:
    """The unfused graph of a model. SourceError for an unknown architecture or what a known one does not support."""
    build = ARCHITECTURES.get(source.architecture)
    if build is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise SourceError(f"the model's architecture is {source.architecture!r}; supported are {known}")
    return build(source)
