# SPDX-License-Identifier: Apache-2.0
"""Model families, one file each: the file's name is the model_type in config.json. This folder is their list.

A file says ``FAMILY``, a record (host/families/parts/family.py). What several families use stands in ``parts``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from gguf import MODEL_ARCH_NAMES

from host.errors import SourceError
from host.families.parts.build import Stored, build
from host.families.parts.decoder import Decoder
from host.families.parts.family import Family
from host.families.parts.keys import check_rest
from host.files.fields import Fields
from host.files.source import Source
from host.foreign import words
from host.ir.graph import Graph


@cache
def families() -> Mapping[str, Family]:
    """All families by model_type, in the order of the alphabet."""
    found = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)
    return {name: import_module(f"{__name__}.{name}").FAMILY for name in found}


def family_of(name: Any, where: str) -> tuple[str, Family]:
    """The family of a model_type, whose hyphens are underscores here. SourceError lists those that there are."""
    known = families()
    ours = name.replace("-", "_") if isinstance(name, str) else ""
    if ours not in known:
        raise SourceError(_unknown(name, where))
    return ours, known[ours]


def gguf_family_of(name: Any, where: str) -> tuple[str, Family]:
    """The family of a GGUF's general.architecture. SourceError lists those that there are."""
    for model_type, family in families().items():
        if family.gguf is not None and MODEL_ARCH_NAMES[family.gguf] == name:
            return model_type, family
    raise SourceError(_unknown(name, where))


def _unknown(name: Any, where: str) -> str:
    return (
        f"{where}: architecture {words(name, 60)} is not supported; supported are {', '.join(families())}. How to "
        "add one: docs/adding-an-architecture.md, or open an issue that names the model"
    )


def decoder_of(source: Source) -> Decoder:
    """What a model computes. SourceError for what its family does not support."""
    name, family = family_of(source.architecture, source.name)
    fields = Fields(source.config, source.name)
    decoder = family.read(fields)
    check_rest(fields, name)
    return decoder


def build_graph(source: Source, context: int | None = None) -> Graph:
    """The unfused graph of a model, for a context of so many positions (None: what is usual for it).

    SourceError for an unknown architecture or what a known one does not support.
    """
    return build(decoder_of(source), Stored(source.tensors, source.name), context)
