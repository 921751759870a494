# SPDX-License-Identifier: Apache-2.0
"""Lists of kinds, read from folders: each file says in TYPES which types of tokenizer.json it is for."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from host.image.text.pattern import Unsupported


@functools.cache
def kinds(folder: str) -> dict[str, ModuleType]:
    """By type, the module of host/image/text/<folder> for it."""
    package = importlib.import_module(f"host.image.text.{folder}")
    names = [f"{package.__name__}.{info.name}" for info in pkgutil.iter_modules(package.__path__)]
    return {kind: module for module in map(importlib.import_module, names) for kind in module.TYPES}


def kind_of(folder: str, what: str, spec: Mapping[str, Any]) -> ModuleType:
    """The module for a part of a tokenizer.json. Raises Unsupported."""
    found = kinds(folder)
    if spec.get("type") not in found:
        raise Unsupported(f"its {what} {spec.get('type')} is none that the device knows")
    return found[spec["type"]]


def flat(spec: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    """The parts of a Sequence, of those within one, too."""
    if spec is None:
        return []
    if spec["type"] != "Sequence":
        return [spec]
    return [part for each in spec[key] for part in flat(each, key)]
