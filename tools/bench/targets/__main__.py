# SPDX-License-Identifier: Apache-2.0
"""What was aimed at beside what is measured: ``python -m tools.bench.targets``.

Each file of this folder with a function ``rows`` is a part, which ``--only`` runs alone; all of them take about an
hour. llama.cpp's side is what peers.py has recorded; for the seconds of ``wall`` and for ``native`` it is run, there
with the extra ``llamacpp``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import cast

from host.errors import HostError
from tools.bench.targets.row import Bench, Row


def part_names() -> list[str]:
    """The parts, from the folder, in alphabetical order."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    return [name for name in names if name not in ("__init__", "__main__", "row")]


def part(name: str) -> Callable[[Bench], Iterator[Row]]:
    """The function that measures a part's rows, each when it is asked for."""
    module = importlib.import_module(f"tools.bench.targets.{name}")
    return cast("Callable[[Bench], Iterator[Row]]", module.rows)


def row_line(row: Row) -> str:
    """One row as text."""
    sign = "" if row.target is None else f"{'>=' if row.at_least else '<='} {row.target:g}"
    verdict = {None: "", True: "met", False: "MISSED"}[row.met]
    return f"{row.what:<62}{row.found:>9.3f}  {sign:<8}{verdict:<8}{row.note}"


def main() -> None:
    """Measure and print, a row as soon as it is known; exits with 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="targets", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=part_names(), help="this part; repeatable")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    given = parser.parse_args()
    missed = 0
    try:
        bench = Bench()
        for name in given.only or part_names():
            for row in part(name)(bench):
                missed += row.met is False
                print(json.dumps(asdict(row) | {"met": row.met}) if given.json else row_line(row), flush=True)
    except HostError as error:
        sys.exit(f"targets: {error}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
