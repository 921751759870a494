# SPDX-License-Identifier: Apache-2.0
"""What the toolkit and the firmware are made of, as CycloneDX JSON: ``python -m tools.sbom > sbom.json``.

Python packages, the compiler among them, are those of requirements.lock, with their hashes; C code that is compiled
into a firmware (libsodium, with key=) is named with the package that it comes from. The same lock gives the same bytes.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import uuid
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from host.packing.pack import tool_version
from tools.scons import sodium

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = uuid.UUID("0d0f1c1e-8a53-4a6e-9b2c-6d5b1f0e7c9d")
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?:.*\\\n)?(?:\s+--hash=sha256:[0-9a-f]{64}.*\n?)*)", re.MULTILINE)


def locked_packages(lock: str) -> list[tuple[str, str, list[str]]]:
    """(name, version, SHA-256 of its files) of each entry of requirements.lock."""
    return [(name, version, re.findall(r"sha256:([0-9a-f]{64})", rest)) for name, version, rest in ENTRY.findall(lock)]


def python_component(name: str, version: str, hashes: list[str]) -> Component:
    """A package of the lock; several hashes are those of its files for different machines."""
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=f"pypi:{name}@{version}",
        purl=PackageURL("pypi", None, name.lower(), version),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=value) for value in hashes],
    )


def sodium_component() -> Component:
    """The Ed25519 of libsodium, compiled into a firmware with key=."""
    return Component(
        type=ComponentType.LIBRARY,
        name="libsodium",
        version=f"as in PyNaCl {sodium.VERSION}",
        bom_ref="c:libsodium",
        description=f"compiled into firmware built with key=: {', '.join(sodium.SOURCES)}",
        purl=PackageURL("pypi", None, "pynacl", sodium.VERSION),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sodium.SDIST_SHA256)],
    )


def commit_date() -> datetime.datetime:
    """When the checked-out commit was made; the beginning of 1970 outside a checkout."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = int(done.stdout) if done.returncode == 0 and done.stdout.strip() else 0
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def make_bom() -> Bom:
    """The whole bill of materials."""
    lock = (ROOT / "requirements.lock").read_text()
    bom = Bom(serial_number=uuid.uuid5(NAMESPACE, lock))
    bom.metadata.timestamp = commit_date()
    name, version = tool_version().split()
    bom.metadata.component = Component(type=ComponentType.APPLICATION, name=name, version=version, bom_ref="self")
    for entry in locked_packages(lock):
        bom.components.add(python_component(*entry))
    bom.components.add(sodium_component())
    bom.register_dependency(bom.metadata.component, bom.components)
    return bom


def main() -> int:
    """Print it."""
    sys.stdout.write(JsonV1Dot6(make_bom()).output_as_string(indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
