# SPDX-License-Identifier: Apache-2.0
"""What the packing benchmark is made of: the model's size, and what a process took."""

from __future__ import annotations

import math
import sys

import pytest

from host.errors import TargetError
from tools.bench.targets import pack


def test_the_model_is_as_large_as_tinyllama() -> None:
    assert sum(math.prod(shape) for shape in pack.shapes().values()) == 1_100_048_384


def test_a_process_is_measured() -> None:
    """Its own memory and time; and what it said where it failed."""
    program = "import time; x = bytes(64 << 20); y = x[1:] + b'1'; time.sleep(0.3)"
    cost = pack.run([sys.executable, "-c", program])
    assert 64 << 20 < cost.anonymous < 256 << 20
    assert cost.wall >= 0.3
    assert cost.cpu > 0
    with pytest.raises(TargetError, match="no such thing"):
        pack.run([sys.executable, "-c", "raise SystemExit('no such thing')"])
