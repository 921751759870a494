# SPDX-License-Identifier: Apache-2.0
"""libsodium's Ed25519 verification for a firmware with ``key=``: fetched from the sdist of PyNaCl, checked by its hash.

Only what ``trust_check`` needs is compiled, from where the package was unpacked; none of it is in this repository.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from host.errors import UsageError
from host.fetch import cache_directory, download_package

VERSION = "1.6.2"
SDIST_SHA256 = "018494d6d696ae03c7e656e5e74cdfd8ea1326962cc401bcf018f1ed8436811c"
LIBRARY = "src/libsodium/src/libsodium"
SOURCES = (
    "crypto_sign/ed25519/ref10/open.c",
    "crypto_core/ed25519/ref10/ed25519_ref10.c",
    "crypto_hash/sha512/cp/hash_sha512_cp.c",
    "crypto_verify/verify.c",
)
INCLUDES = ("include/sodium", "include")
FLAGS = ["-DCONFIGURED=1", "-DHAVE_TI_MODE=1", "-w"]
"""64-bit limbs, as libsodium's own configure chooses for these targets. Its warnings are its own."""


def find_sodium() -> Path:
    """The unpacked library, fetched where it is not in the cache yet. Raises UsageError."""
    place = cache_directory() / f"pynacl-{VERSION}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        print(f"fetching PyNaCl {VERSION}, whose sources carry libsodium (3.5 MB, once)", flush=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            fresh = _unpack(_sdist(Path(folder)), Path(folder) / "unpacked")
            if not place.is_dir():
                fresh.rename(place)
    return place / LIBRARY


def _sdist(folder: Path) -> Path:
    options = ["--quiet", "--no-binary", "PyNaCl"]
    return download_package(f"PyNaCl=={VERSION}", folder, options, UsageError, SDIST_SHA256)


def _unpack(archive: Path, folder: Path) -> Path:
    """The files below LIBRARY that are needed, checked to lie below ``folder``; returns the package's own folder."""
    with tarfile.open(archive) as tar:
        wanted = [m for m in tar.getmembers() if m.isfile() and f"/{LIBRARY}/" in m.name and _is_needed(m.name)]
        tar.extractall(folder, wanted, filter="data")
    return next(folder.iterdir())


def _is_needed(name: str) -> bool:
    inside = name.split(f"/{LIBRARY}/", 1)[1]
    return inside.endswith(".h") or inside in SOURCES
