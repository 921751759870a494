# SPDX-License-Identifier: Apache-2.0
"""libsodium's Ed25519 verification for a firmware with ``key=``: fetched from the sdist of PyNaCl, checked by its hash.

Only what ``trust_check`` needs is compiled, from where the package was unpacked; none of it is in this repository.
"""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

from host.cache import cache_directory, private_folder, scratch_folder
from host.errors import UsageError
from host.fetch import Package, download_sdist

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


PACKAGE = Package("PyNaCl", VERSION, SDIST_SHA256)
TREE_SHA256 = "bdf11183be597780ffdb52a934ddf85a01214897b1b9ab40416c48f1f265b3ce"
"""Of the names and hashes of all files that were unpacked; see ``tree_hash``."""
MAX_MEMBERS, MAX_FILE_BYTES = 10_000, 4 << 20


def find_sodium() -> Path:
    """The unpacked library, fetched where it is not in the cache as it must be. Raises UsageError.

    Every file is hashed each time (2 MB): what others added or changed there is not compiled.
    """
    place = cache_directory() / f"pynacl-{VERSION}"
    if place.is_dir():
        private_folder(place)
        if tree_hash(place) == TREE_SHA256:
            return place / LIBRARY
    print(f"fetching PyNaCl {VERSION}, whose sources carry libsodium (3.5 MB, once)", flush=True)
    with scratch_folder(place.parent) as folder:
        fresh = _unpack(download_sdist(PACKAGE, folder, UsageError), folder / "unpacked")
        if place.is_dir():
            place.rename(folder / "changed")
        fresh.rename(place)
    return place / LIBRARY


def tree_hash(folder: Path) -> str:
    """SHA-256 of the name and SHA-256 of each file below a folder, line by line; of nothing where a link lies there."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            return ""
        if path.is_file():
            line = f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
            total.update(line.encode())
    return total.hexdigest()


def _unpack(archive: Path, folder: Path) -> Path:
    """The files below LIBRARY that are needed, checked to lie below ``folder``; returns the package's own folder.

    The archive's hash has been checked before; the limits are for the day when somebody changes it in haste.
    """
    with tarfile.open(archive) as tar:
        wanted = [m for m in tar.getmembers() if m.isfile() and f"/{LIBRARY}/" in m.name and _is_needed(m.name)]
        if len(wanted) > MAX_MEMBERS or any(m.size > MAX_FILE_BYTES for m in wanted):
            raise UsageError(f"{archive.name} holds more than libsodium has: not unpacked")
        tar.extractall(folder, wanted, filter="data")
    return next(folder.iterdir())


def _is_needed(name: str) -> bool:
    inside = name.split(f"/{LIBRARY}/", 1)[1]
    return inside.endswith(".h") or inside in SOURCES
