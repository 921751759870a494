# SPDX-License-Identifier: Apache-2.0
"""Frama-C: every goal of WP with RTE of the frame codec, the receive ring and the request validator.

WP proves for inputs of any length; RTE adds a goal for whatever C leaves undefined. The contracts stand in the sources.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tools.assure.common import FRAMA_HINT, GENERATED, Failed, Missing, Row, run

UNITS = {
    "codec": ["link/cobs.c", "common/crc32c.c", "link/frame.c"],
    "ring": ["link/ring.c"],
    "validator": ["link/validate.c"],
}
PROVER_SECONDS = 300
LIMIT_SECONDS = 7200


def prove(name: str, sources: list[str]) -> tuple[int, int]:
    """Goals proven and goals, of files below firmware/. Raises Failed with the goals that are not proven."""
    text = run(
        [
            *("frama-c", "-machdep", "gcc_x86_64", f"-cpp-extra-args=-Ifirmware -I{GENERATED}"),
            *("-inline-calls", "@inline", "-remove-inlined", "@inline"),
            *("-wp", "-wp-rte", "-wp-prover", "z3,cvc4", "-wp-timeout", str(PROVER_SECONDS)),
            *("-wp-par", "2", "-wp-cache", "none"),
            *(Path("firmware") / source for source in sources),
        ],
        LIMIT_SECONDS,
        log=f"proof-{name}",
    )
    found = re.search(r"Proved goals: +(\d+) / (\d+)", text)
    if not found:
        raise Failed(f"frama-c printed no result:\n{text[-2000:]}")
    return int(found[1]), int(found[2])


def rows(full: bool) -> list[Row]:
    """One row; the whole proof in either case, for a part of it would prove nothing."""
    del full
    if not shutil.which("frama-c"):
        raise Missing(f"frama-c is not installed: {FRAMA_HINT}")
    counts = [prove(name, sources) for name, sources in UNITS.items()]
    done, goals = (sum(column) for column in zip(*counts, strict=True))
    return [Row("WP+RTE goals of codec, ring, validator", f"{done} of {goals} proven", "all", done == goals)]
