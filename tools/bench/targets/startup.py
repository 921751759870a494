# SPDX-License-Identifier: Apache-2.0
"""From the mapped image to the first step possible."""

from __future__ import annotations

import re
from collections.abc import Iterator

from host.errors import TargetError
from host.talk.opening import OpenOptions, open_model
from tools.bench.targets.row import Bench, Row, variant_of


def rows(bench: Bench) -> Iterator[Row]:
    """From the mapped image to the first step possible, hashes of the weights apart: what the boot report says."""
    lines: list[str] = []
    image = bench.image(variant_of("scalar"), "Q4_0")
    with open_model(str(image), "spike:scalar", OpenOptions(console=lines.append)):
        said = re.search(r"loaded in (\d+) instructions", "\n".join(lines))
    if not said:
        raise TargetError("the boot report does not say how many instructions loading took")
    yield Row("start-up, M instructions, hashes apart", int(said[1]) / 1e6, 1.0)
