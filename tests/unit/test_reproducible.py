# SPDX-License-Identifier: Apache-2.0
"""The same sources give the same bytes, and a list says what they are made of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.native import ROOT
from tests.support.tiny import tiny_image, tiny_llama
from tools import sbom
from tools.scons import sodium


def test_packing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("1", "2"):
        tiny_image(tmp_path / name, tiny_llama())
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Also in another directory: no path of this machine is in a firmware."""
    for name in ("1", "2"):
        command = [sys.executable, "-m", "SCons", "-s", "board=visionfive2", f"build={tmp_path / name}"]
        subprocess.run(command, cwd=ROOT, check=True)
    for file in ("firmware.elf", "firmware.bin", "selector.bin", "boot.scr", "shim.elf"):
        first, second = (tmp_path / name / "visionfive2" / file for name in ("1", "2"))
        assert first.read_bytes() == second.read_bytes(), file
        assert str(ROOT).encode() not in first.read_bytes()


def test_bill_of_materials_names_every_package_and_the_c_code() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pinned = [line for line in lock.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    command = [sys.executable, "-m", "tools.sbom"]
    said = [subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout for _ in range(2)]
    assert said[0] == said[1]
    bom = json.loads(said[0])
    assert bom["bomFormat"] == "CycloneDX"
    names = [component["name"] for component in bom["components"]]
    assert len(names) == len(pinned) + 1
    assert {"ziglang", "libsodium", "numpy"} <= set(names)
    hashes = {c["name"]: c["hashes"] for c in bom["components"]}
    assert hashes["libsodium"] == [{"alg": "SHA-256", "content": sodium.SDIST_SHA256}]
    assert all(hashes.values())
    assert len(sbom.locked_packages(lock)) == len(pinned)
