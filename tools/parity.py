# SPDX-License-Identifier: Apache-2.0
"""Every family beside transformers: ``python -m tools.parity``.

Small random models, a row of tests/families each. In f32 the logits of 300 positions, what each layer hands on, and 64
greedy tokens; in q8 with an int8 cache the KL divergence, the reference sharpened first. The status is 1 where a target
is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import parity  # noqa: E402
from tests.support.family_rows import CASES, rows  # noqa: E402
from tests.support.native import Native  # noqa: E402

CLOSE = 1e-4
"""The largest difference in f32, of the reference's largest magnitude."""
DIVERGENCE = 0.02
"""The largest mean KL divergence in q8, in nats."""
COSINE = 0.999
"""The least cosine of an encoder's results in q8 with the reference's."""
HEAD = f"{'family':<14}{'variant':<16}{'logits':>9}{'layers':>9}{'greedy':>8}{'q8 KL':>9}{'top-1':>8}{'entropy':>9}"


def measure(native: Native, family: str, variant: str) -> tuple[parity.Exact, parity.Quantized | float]:
    """Both comparisons, without the progress bars of the library."""
    with contextlib.redirect_stderr(io.StringIO()), tempfile.TemporaryDirectory() as folder:
        for name in ("f32", "q8"):
            (Path(folder) / name).mkdir()
        exact = parity.exact(native, family, variant, Path(folder) / "f32")
        quantized = parity.near if exact.greedy is None else parity.quantized
        return exact, quantized(native, family, variant, Path(folder) / "q8")


def misses(exact: parity.Exact, quantized: parity.Quantized | float) -> Iterator[str]:
    """The names of the targets that are missed."""
    if not exact.logits <= CLOSE:
        yield "logits"
    if not max(exact.layers) <= CLOSE:
        yield "layers"
    if exact.greedy is not None and exact.greedy < parity.GREEDY:
        yield "greedy"
    if isinstance(quantized, float) and not quantized >= COSINE:
        yield "q8 cosine"
    if isinstance(quantized, parity.Quantized) and not quantized.kl <= DIVERGENCE:
        yield "q8 KL"


def line(family: str, variant: str, exact: parity.Exact, quantized: parity.Quantized | float) -> str:
    """One row for people."""
    missed = ", ".join(misses(exact, quantized))
    first = f"{family:<14}{variant:<16}{exact.logits:>9.1e}{max(exact.layers):>9.1e}"
    if isinstance(quantized, float):
        second = f"{'':>8}{quantized:>9.5f} (cosine)"
    else:
        second = f"{exact.greedy:>8}{quantized.kl:>9.4f}{quantized.top1:>8.3f}{quantized.entropy:>9.2f}"
    return first + second + (f"  MISSED: {missed}" if missed else "")


def main() -> None:
    """Measure and print, a row as soon as it is known."""
    parser = argparse.ArgumentParser(prog="parity", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(rows()), help="this family; repeatable")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    given = parser.parse_args()
    missed = 0
    native = Native()
    if not given.json:
        print(f"targets: f32 differences <= {CLOSE:g}, greedy {parity.GREEDY}, q8 KL <= {DIVERGENCE:g}")
        print(f"encoders: cosine of q8 results >= {COSINE:g}\n{HEAD}")
    for family, variant in CASES:
        if given.only and family not in given.only:
            continue
        exact, quantized = measure(native, family, variant)
        found = list(misses(exact, quantized))
        missed += bool(found)
        q8 = {"cosine": quantized} if isinstance(quantized, float) else asdict(quantized)
        facts = {"family": family, "variant": variant, "f32": asdict(exact), "q8": q8, "missed": found}
        print(json.dumps(facts) if given.json else line(family, variant, exact, quantized), flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
