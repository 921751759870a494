# SPDX-License-Identifier: Apache-2.0
"""Where the product's own data lie and where firmware is built: in a checkout, or installed from a wheel.

The data are what is no Python module of the package: boards/, models/, firmware/, linker/, SConstruct and tools/. A
checkout has them beside ``host``; a wheel carries them in ``host/data`` (setup.py puts them there).
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

from host.cache import cache_directory

PACKAGE = Path(__file__).resolve().parent
"""The package ``host`` itself."""


def _find_tree(package: Path) -> Path:
    checkout = package.parent
    return checkout if (checkout / "SConstruct").is_file() else package / "data"


TREE = _find_tree(PACKAGE)
"""The folder that has boards/, models/, firmware/, linker/, tools/ and SConstruct: where SCons runs."""
INSTALLED = TREE.parent == PACKAGE
"""Whether this is no checkout: nothing may be written below TREE."""


DECLARATIONS = tuple(
    PACKAGE / name for name in ("schema", "ir", "ops", "boards.py", "kernels.py", "errors.py", "medium/selector.py")
)
"""What the firmware's headers are made from: files, and folders of them."""


def declaration_files() -> list[Path]:
    """All files of DECLARATIONS, and those of the kernel families."""
    found = [file for place in DECLARATIONS for file in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    return [*found, *sorted((TREE / "firmware" / "kernels").glob("*/*.toml"))]


def build_root(build: str = "") -> Path:
    """Where firmware is built: ``build``, else $HARTSPEAK_BUILD, else a folder of our own.

    In a checkout that is build/, and relative paths are below the checkout. Installed, it is in the user's cache, one
    for each content of the package, so that what was built there is never another version's.
    """
    named = build or os.environ.get("HARTSPEAK_BUILD", "")
    if not INSTALLED:
        return TREE / (named or "build")
    return Path(named).absolute() if named else cache_directory() / "build" / package_digest()


@functools.cache
def package_digest() -> str:
    """Twelve hexadecimal digits of the SHA-256 over all files of the package, its data included."""
    digest = hashlib.sha256()
    for path in sorted(path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(f"{path.relative_to(PACKAGE)}\0{path.stat().st_size}\0".encode(errors="surrogateescape"))
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def build_words(board: str, **options: str) -> str:
    """The command that builds a board's firmware, as a person types it here."""
    words = [f"host build {board}" if INSTALLED else f"scons board={board}"]
    return " ".join([*words, *(f"{name}={value}" for name, value in options.items() if value)])
