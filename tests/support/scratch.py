# SPDX-License-Identifier: Apache-2.0
"""A copy of the checkout to which a test adds files, and to which nothing else is done.

What a person adds to the product (a board, an op, a weight format, a family) is a file or two. A test that drops such
files into a copy and uses the product there shows that no list elsewhere had to be touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = ("tests/fuzz/corpus/",)


def copy_checkout(to: Path) -> Path:
    """Copy the files that git knows or would take. Returns ``to``."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in listed.split("\0"):
        if name and not name.startswith(SKIPPED) and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


@dataclass(frozen=True)
class Scratch:
    """The copy. Every command runs in it, with its own build folder and what this checkout has compiled."""

    folder: Path

    def add(self, name: str, text: str) -> None:
        """A new file; one that is there already is not touched."""
        path = self.folder / name
        assert not path.exists(), f"{name} is there already"
        path.write_text(text)

    def run(self, *command: str, timeout: float = 300) -> str:
        """What a Python module's command prints: ``run("host", "boards")``. It has to end well."""
        environment = os.environ | {
            "HARTSPEAK_OBJECTS": str(ROOT / "build/objects"),
            "HARTSPEAK_BUILD": str(self.folder / "build"),
            "SCONSFLAGS": "--cache-readonly",
            "PYTHONPATH": str(self.folder),
        }
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        return done.stdout

    def test(self, *arguments: str, timeout: float = 600) -> str:
        """Tests of the copy."""
        return self.run("pytest", "-q", "-n0", "-p", "no:cacheprovider", *arguments, timeout=timeout)
