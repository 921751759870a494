# SPDX-License-Identifier: Apache-2.0
"""Passes over the graph, one file each: each may be left out, and the program still runs and means the same.

A file of this folder is a pass; its name is the pass's, and ``PASS`` in it says what runs and where in the order.
Structural passes leave every logit's bits as they are; `fold_norms` changes the order of two multiplications and stays
within 1e-5. A pass leaves behind what it made superfluous; `dce` removes it. What several use stands in ``parts``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from host.compiler.passes.parts.rewrite import Pass
from host.errors import UsageError
from host.ir.graph import Graph


def _read() -> list[tuple[str, Pass]]:
    """Every run of a pass of this folder, in order. AssertionError where two have one place."""
    found: dict[int, tuple[str, Pass]] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.ispkg:
            continue
        each: Pass = importlib.import_module(f"{__name__}.{module.name}").PASS
        for at in each.at:
            if at in found:
                raise AssertionError(f"passes {found[at][0]} and {module.name} have the same place {at}")
            found[at] = (module.name, each)
    return [found[at] for at in sorted(found)]


ORDER = _read()
PASSES: dict[str, Pass] = {name: each for name, each in ORDER if each.optional}
"""Those that may be left out, by name, in the order in which they first run."""


def run_passes(graph: Graph, without: Iterable[str] = ()) -> None:
    """All passes but those named in ``without``. UsageError for unknown names."""
    skipped = set(without)
    unknown = skipped - PASSES.keys()
    if unknown:
        raise UsageError(f"there is no pass {', '.join(sorted(unknown))}; passes are {', '.join(PASSES)}")
    for name, each in ORDER:
        if name not in skipped:
            each.run(graph)
