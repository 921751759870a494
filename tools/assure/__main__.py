# SPDX-License-Identifier: Apache-2.0
"""``python -m tools.assure [--full] [PART...]``: run the parts and print the table. Exit 1 where a part failed."""

from __future__ import annotations

import argparse
import datetime
import subprocess
import time
from collections.abc import Callable

from tools.assure import coverage, device, fuzz, proof, strangers
from tools.assure.common import ROOT, Failed, Missing, Row

PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "proof": proof.rows,
    "coverage": coverage.rows,
    "edits": fuzz.edit_rows,
    "fuzz": fuzz.rows,
    "readers": fuzz.reader_rows,
    "soak": device.soak_rows,
    "hangs": device.hang_rows,
    "strangers": strangers.rows,
}
STATES = {True: "", False: " FAILED", None: " skipped"}


def run_part(name: str, full: bool) -> list[Row]:
    """The rows of one part; a tool that is missing or a finding becomes a row, too."""
    began = time.monotonic()
    try:
        rows = PARTS[name](full)
    except Missing as missing:
        rows = [Row(name, f"skipped: {missing}", "", None)]
    except Failed as failed:
        print(f"assure: {name}: {failed}", flush=True)
        rows = [Row(name, "see above", "", False)]
    print(f"assure: {name}: {time.monotonic() - began:.0f} s", flush=True)
    return rows


def print_table(rows: list[Row]) -> None:
    """Markdown, for docs/assurance.md."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(f"\n{datetime.date.today()}, commit {commit.stdout.strip() or 'unknown'}\n")
    print("| what | measured | target |")
    print("|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.measured}{STATES[row.good]} | {row.target} |")


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="assure.sh", description="Proofs, MC/DC, exhaustive edits and fuzzing.")
    parser.add_argument("--full", action="store_true", help="the full counts: hours")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="only these; default: all", metavar="PART")
    arguments = parser.parse_args()
    rows = [row for name in arguments.parts or PARTS for row in run_part(name, arguments.full)]
    print_table(rows)
    return int(any(row.good is False for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
