# SPDX-License-Identifier: Apache-2.0
"""Holds every target's logits against tests/golden/digests.json: ``python -m tools.digests --all``.

The firmware of each target is built first. The status is 1 where a digest differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from host.errors import HostError, SourceError
from host.targets import parse_spec
from host.targets.abilities import missing_program

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import digests  # noqa: E402

SAME, OTHER, NEW, SKIPPED = "same", "OTHER", "new", "skipped"


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare the logits of fixed models and tokens with the digest file.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="compare, and write nothing; so without any option")
    how.add_argument("--write", action="store_true", help=f"write what {digests.REFERENCE} gives into the file")
    parser.add_argument(
        "--target", action="append", default=[], help=f"may be repeated; {digests.REFERENCE} if left out"
    )
    parser.add_argument("--all", action="store_true", help="all targets that can be started here")
    parser.add_argument("--only", action="append", default=[], help="cases whose names begin so; may be repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.write and (options.all or options.target):
        parser.error(f"--write takes what {digests.REFERENCE} gives, and no --target")
    if not digests.chosen(options.only):
        parser.error(f"no case begins with {' or '.join(options.only)}")
    return options


def compare(
    text: str, names: list[str], known: dict[str, str], images: digests.Images
) -> Iterator[tuple[str, str, str]]:
    """Of each case its name, verdict and digest or reason."""
    spec = parse_spec(text)
    if missing := missing_program(spec):
        yield from ((name, SKIPPED, missing) for name in names)
        return
    digests.build_target(spec)
    for name in names:
        try:
            found = digests.digests_of(spec, name, images)
        except SourceError as error:
            yield name, SKIPPED, str(error)
            continue
        wanted = known.get(name)
        verdict = NEW if wanted is None and len(found) == 1 else SAME if found == {wanted} else OTHER
        yield name, verdict, " ".join(sorted(found))


def run(options: argparse.Namespace, folder: Path) -> tuple[dict[str, dict[str, dict[str, str]]], dict[str, str]]:
    """All verdicts by target and case, and the digests of the last target."""
    known, images, names = digests.read_digests(), digests.Images(folder), digests.chosen(options.only)
    report: dict[str, dict[str, dict[str, str]]] = {}
    last: dict[str, str] = {}
    for text in digests.TARGETS if options.all else options.target or [digests.REFERENCE]:
        started, rows = time.monotonic(), report.setdefault(text, {})
        for name, verdict, digest in compare(text, names, known, images):
            rows[name] = {"verdict": verdict, "digest": digest}
            if verdict != SKIPPED:
                last[name] = digest
            if not options.json and verdict != SAME:
                print(f"{text}  {name}: {verdict}, {digest}", flush=True)
        if not options.json:
            same = sum(row["verdict"] == SAME for row in rows.values())
            print(f"{text}: {same} of {len(rows)} the same, {time.monotonic() - started:.0f} s", flush=True)
    return report, last


def main() -> int:
    """Print what differs; the status is 1 where something does, but for what ``--write`` has written."""
    options = read_options()
    try:
        with tempfile.TemporaryDirectory() as folder:
            report, last = run(options, Path(folder))
    except HostError as error:
        sys.stderr.write(f"digests: {error}\n")
        return error.exit_code
    if options.json:
        print(json.dumps(report, indent=1))
    if options.write:
        torn = [name for name, digest in last.items() if " " in digest]
        if torn:
            sys.stderr.write(f"digests: the layouts disagree about {', '.join(torn)}; nothing was written\n")
            return 1
        digests.write_digests(digests.read_digests() | last)
        return 0
    return int(any(row["verdict"] in (OTHER, NEW) for rows in report.values() for row in rows.values()))


if __name__ == "__main__":
    raise SystemExit(main())
