# SPDX-License-Identifier: Apache-2.0
"""Model architectures: each module builds the unfused graph of one Hugging Face model_type."""

from __future__ import annotations

from collections.abc import Callable

from host.errors import SourceError
from host.families import gpt2, llama
from host.files.source import Source
from host.ir.graph import Graph

ARCHITECTURES: dict[str, Callable[[Source], Graph]] = {"llama": llama.build, "gpt2": gpt2.build}
"""By model_type."""


def build_graph(source: Source) -> Graph:
    """The unfused graph of a model. SourceError for an unknown architecture or what a known one does not support."""
    build = ARCHITECTURES.get(source.architecture)
    if build is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise SourceError(f"the model's architecture is {source.architecture!r}; supported are {known}")
    return build(source)
