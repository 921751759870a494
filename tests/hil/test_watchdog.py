# SPDX-License-Identifier: Apache-2.0
"""A firmware that hangs or traps in mid-answer starts again, and its host goes on with the same tokens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from host.link.client import Client
from host.link.messages import Failure
from host.targets import Target, open_target, simulators
from tests.support.tiny import tiny_image, tiny_llama


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "options"),
    [("qemu-virt", ["watchdog=1000"]), ("spike", ["watchdog=50"]), ("visionfive2@spike", ["watchdog=50"])],
)
def test_a_device_that_hangs_or_traps_goes_on_with_the_same_tokens(
    spec: str, options: list[str], tmp_path: Path
) -> None:
    image = tmp_path / "tiny.hsp"
    tiny_image(image, tiny_llama())
    board = spec.partition("@")[0]
    words = ["-s", f"board={board}", "faults=1", f"build={tmp_path / 'build'}", *options]
    subprocess.run([sys.executable, "-m", "SCons", *words], cwd=simulators.ROOT, check=True)

    def start() -> Target:
        return open_target(f"{spec}:build={tmp_path / 'build'}", image)

    lines: list[str] = []
    client = Client(start(), console=lines.append, restore=True, reopen=start)
    try:
        client.connect(60)
        prompt = list(range(3, 63))
        client.prompt(prompt)
        expected = [token.id for token in client.generate(40)]
        for failure, word in ((Failure.HANG, "WATCHDOG: no op has ended"), (Failure.TRAP, "TRAP: illegal instruction")):
            client.truncate(0)
            client.prompt(prompt)
            run = client.generate(40)
            got = [next(run).id for _ in range(10)]
            client.send_fail(failure)
            got += [token.id for token in run]
            assert got == expected
            assert any(word in line for line in lines)
    finally:
        client.stream.close()
