# SPDX-License-Identifier: Apache-2.0
"""What strangers send: every file of tests/strangers as a row of the table, slow tests included.

A file there is one kind of fault. The first line of its docstring is the row's name. A test that fails is open; a test
that is skipped is not shown to hold, so its row counts as skipped.
"""

from __future__ import annotations

import ast
import os
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tools.assure import mutants, strings
from tools.assure.common import ROOT, WORK, Failed, Missing, Row, run

FOLDER = ROOT / "tests" / "strangers"
SECONDS = 3600


def rows(full: bool) -> list[Row]:
    """A row for each kind of fault in tests/strangers, by one run of pytest; for each kind of tokenizer; of mutants."""
    WORK.mkdir(parents=True, exist_ok=True)
    report = WORK / "strangers.xml"
    report.unlink(missing_ok=True)
    jobs = str(max(1, os.cpu_count() or 1))
    options = ["--slow", "-q", "-n", jobs, "--dist", "loadfile", f"--junitxml={report}", "-o", "junit_family=xunit1"]
    try:
        run([sys.executable, "-m", "pytest", *options, FOLDER], SECONDS, log="strangers")
    except Failed as failed:
        if not report.is_file():
            raise
        print(f"assure: strangers: {failed}", flush=True)
    counts = _counts(report)
    kinds = [_row(path, counts.get(path.stem, Counter())) for path in sorted(FOLDER.glob("test_*.py"))]
    return [*kinds, *_shown("strings", strings.rows, full), *_shown("strangers: image mutants", mutants.rows, full)]


def _shown(what: str, rows: Callable[[bool], list[Row]], full: bool) -> list[Row]:
    """Where something is missing, or with a finding, a row that says so: the others are shown all the same."""
    try:
        return rows(full)
    except Missing as missing:
        return [Row(what, f"skipped: {missing}", "", None)]
    except Failed as failed:
        print(f"assure: strangers: {failed}", flush=True)
        return [Row(what, "see above", "no finding", False)]


def _counts(report: Path) -> dict[str, Counter[str]]:
    """How many tests of each file held, are open, or were skipped: by the file's stem."""
    counts: dict[str, Counter[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        state = "open" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "held"
        stem = Path(case.get("file") or case.get("classname", "").replace(".", "/") + ".py").stem
        counts.setdefault(stem, Counter())[state] += 1
    return counts


def _row(path: Path, found: Counter[str]) -> Row:
    """The row of one file. A file of which nothing ran is open: it shows nothing."""
    what = (ast.get_docstring(ast.parse(path.read_text())) or path.stem).splitlines()[0].rstrip(".")
    words = f"{found['held']} held, {found['open']} open"
    words += f", {found['skipped']} skipped" if found["skipped"] else ""
    nothing = not sum(found.values())
    good = False if found["open"] or nothing else None if found["skipped"] else True
    return Row(f"strangers: {what}", words, "0 open", good)
