# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of tools/bench/peers.py, and that its plugin compiles."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.bench.peers import HERE, cost
from tools.scons.toolchain import zig_path


def test_a_token_costs_the_difference_of_runs() -> None:
    counts = {(1, 0): 1_000_000_000, (1, 4): 1_060_000_000, (16, 0): 1_150_000_000}
    found = cost(counts, 16, 4)
    assert (found.decode, found.prefill) == (15.0, 10.0)


@pytest.mark.parametrize("version", [1, 2])
def test_plugin_compiles(tmp_path: Path, version: int) -> None:
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", f"-DPLUGIN_VERSION={version}"]
    out = tmp_path / "count.so"
    subprocess.run([zig_path(), "cc", *flags, str(HERE / "count_insns.c"), "-o", str(out)], check=True)
    assert out.stat().st_size
