# SPDX-License-Identifier: Apache-2.0
"""What is fetched once and kept: packages, by name, version and hash, as data. Nothing fetched is installed or built.

Wheels come by pip, which may be told nothing but a name and a version. pip cannot fetch an sdist without running what
is in it (it asks the package's own build program for its metadata), so an sdist is read from the index itself, by the
simple API (https://packaging.python.org/specifications/simple-repository-api), from the indexes that pip is set to.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import html.parser
import json
import os
import re
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from host.errors import HostError
from host.words import shown

DOWNLOAD_SECONDS = 3600
READ_SECONDS = 60
MAX_PAGE = 64 << 20
MAX_SDIST = 1 << 30
CHUNK = 1 << 20
DEFAULT_INDEX = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.5, text/html;q=0.2"

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
"""A distribution's name, PEP 508."""
VERSION = re.compile(
    r"(?:\d+!)?\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?(?:\.post\d+)?(?:\.dev\d+)?(?:\+[a-z0-9]+(?:[._-][a-z0-9]+)*)?", re.ASCII
)
"""A version in its normal form, PEP 440. No wildcard, no range, no URL."""
SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_WORD = 100


@dataclass(frozen=True)
class Package:
    """One version of one package. ``sha256`` is of the file that is fetched; empty where what is in it is checked."""

    name: str
    version: str
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"

    def wrong(self) -> str | None:
        """Why it must not be given to pip: the first of its words that is not what it should be; None if all are."""
        if len(self.name) > MAX_WORD or not NAME.fullmatch(self.name):
            return f"package {shown(self.name, 80)!r} is no name of a package: letters, digits, '.', '_' and '-'"
        if len(self.version) > MAX_WORD or not VERSION.fullmatch(self.version):
            return f"version {shown(self.version, 80)!r} is no exact version such as 1.2.3"
        if self.sha256 and not SHA256.fullmatch(self.sha256):
            return f"SHA-256 {shown(self.sha256, 80)!r} is not 64 hexadecimal digits in lower case"
        return None


def _checked(package: Package, failure: type[HostError]) -> None:
    if wrong := package.wrong():
        raise failure(f"{wrong}; nothing is fetched")


def _pip() -> list[str]:
    """How pip of this Python is started, which must not be taken from the folder that somebody happens to stand in."""
    return [sys.executable, "-P" if sys.version_info >= (3, 11) else "-I", "-m", "pip"]


def _what(package: Package, folder: Path) -> list[str]:
    """What pip is asked for: with its hash by a file of requirements, else as the last word, which is no option."""
    if not package.sha256:
        return ["--", str(package)]
    listed = folder / "requirements.txt"
    listed.write_text(f"{package} --hash=sha256:{package.sha256}\n")
    return ["--require-hashes", "--requirement", str(listed)]


def download_wheel(package: Package, folder: Path, failure: type[HostError], options: tuple[str, ...] = ()) -> Path:
    """The package's wheel in the empty ``folder``, by pip, unopened. Its progress is shown on a terminal.

    Raises ``failure`` where a word is no name, pip cannot have it, or its hash is another one.
    """
    _checked(package, failure)
    command = [*_pip(), "download", "--no-deps", "--disable-pip-version-check", "--only-binary", ":all:"]
    output = sys.stderr if sys.stderr.isatty() else subprocess.PIPE
    try:
        done = subprocess.run(
            [*command, *options, "-d", str(folder), *_what(package, folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise failure(f"cannot fetch {package}: {error}; check the network connection") from error
    found = [path for path in folder.iterdir() if path.suffix == ".whl" and path.is_file()]
    if done.returncode or len(found) != 1:
        said = (done.stderr or "").strip().splitlines()
        raise failure(
            f"cannot fetch {package}: pip says {shown(said[-1], 300) if said else 'nothing'}; check the network "
            "connection and pip's index settings"
        )
    _check_hash(found[0], package, failure)
    return found[0]


def _check_hash(path: Path, package: Package, failure: type[HostError]) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    if package.sha256 and digest.hexdigest() != package.sha256:
        raise failure(f"{path.name} has SHA-256 {digest.hexdigest()}, not the pinned {package.sha256}: not used")


def download_sdist(package: Package, folder: Path, failure: type[HostError]) -> Path:
    """The package's sdist in ``folder``, hashed, not unpacked, from pip's indexes and folders. It must have a hash.

    Raises ``failure`` where it cannot be had or its hash is another one.
    """
    _checked(package, failure)
    if not package.sha256:
        raise failure(f"{package} has no pinned hash: not fetched")
    file = f"{re.sub(r'[-_.]+', '_', package.name).lower()}-{package.version}.tar.gz"
    settings = _pip_settings()
    reasons = []
    for place in _places(settings, package):
        try:
            data = _find(place, file, settings)
        except (OSError, ValueError, RecursionError) as error:
            reasons.append(f"{shown(_without_password(place))}: {shown(str(error), 120)}")
            continue
        if data is not None and hashlib.sha256(data).hexdigest() == package.sha256:
            path = folder / file
            path.write_bytes(data)
            return path
        reasons.append(
            f"{shown(_without_password(place))}: "
            + (f"has no {file}" if data is None else f"{file} has another SHA-256 than the pinned: not used")
        )
    raise failure(
        f"cannot fetch {package}: {'; '.join(reasons) or 'pip is set to no index'}; check the network connection, or "
        f"put {file} into a folder and name it by PIP_FIND_LINKS"
    )


def _pip_settings() -> dict[str, str]:
    """What pip's files and PIP_... say for all commands and for download, the latter last: option to its words."""
    found: dict[str, str] = {}
    command = [*_pip(), "config", "list"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=READ_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return found
    for rank in ("global", "download", ":env:"):
        for line in done.stdout.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{rank}."):
                found[key.removeprefix(f"{rank}.")] = str(ast.literal_eval(value))
    return found


def _places(settings: dict[str, str], package: Package) -> list[str]:
    """Folders and pages that may name the file: find-links first, then the package's page of each index."""
    places = settings.get("find-links", "").split()
    if settings.get("no-index", "").lower() not in ("1", "true", "yes", "on", "t", "y"):
        indexes = [settings.get("index-url", DEFAULT_INDEX), *settings.get("extra-index-url", "").split()]
        name = re.sub(r"[-_.]+", "-", package.name).lower()
        places += [f"{index.rstrip('/')}/{name}/" for index in indexes]
    return places


def _find(place: str, file: str, settings: dict[str, str]) -> bytes | None:
    """A file that a folder holds or a page links to; None where it does not."""
    scheme = urllib.parse.urlsplit(place).scheme
    if scheme in ("", "file") or (len(scheme) == 1 and os.name == "nt"):
        folder = Path(urllib.request.url2pathname(urllib.parse.urlsplit(place).path) if scheme == "file" else place)
        folder = folder.expanduser()
        if (folder / file).is_file():
            return _limited((folder / file).open("rb"), MAX_SDIST)
        if not (folder / "index.html").is_file():
            return None
        place = (folder / "index.html").resolve().as_uri()
    elif scheme not in ("https", "http"):
        raise ValueError(f"an index by {scheme} is not read")
    link = _link(_read(place, settings, MAX_PAGE).decode("utf-8", "replace"), place, file)
    return None if link is None else _read(link, settings, MAX_SDIST)


class _Anchors(html.parser.HTMLParser):
    """The targets of all links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect one."""
        self.links += [value for key, value in attrs if tag == "a" and key == "href" and value]


def _link(page: str, base: str, file: str) -> str | None:
    """Where a page of the simple API, as JSON or HTML, says that a file lies."""
    if page.lstrip().startswith("{"):
        links = [str(each.get("url")) for each in json.loads(page)["files"] if isinstance(each, dict)]
    else:
        anchors = _Anchors()
        anchors.feed(page)
        links = anchors.links
    for link in links:
        url = urllib.parse.urljoin(base, link)
        parts = urllib.parse.urlsplit(url)
        name = urllib.parse.unquote(parts.path).rsplit("/", 1)[-1]
        if name == file and (parts.scheme in ("https", "http") or base.startswith("file:")):
            return urllib.parse.urldefrag(url)[0]
    return None


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)


def _read(url: str, settings: dict[str, str], limit: int) -> bytes:
    """At most ``limit`` bytes from an address. Raises OSError, or ValueError for more."""
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(_without_password(url), headers={"Accept": ACCEPT, "User-Agent": "hartspeak"})
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        # Not for whom the index redirects to: that may be another's server.
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    context = ssl.create_default_context(cafile=settings.get("cert") or None) if parts.scheme == "https" else None
    return _limited(urllib.request.urlopen(request, timeout=READ_SECONDS, context=context), limit)


def _limited(opened: BinaryIO, limit: int) -> bytes:
    with opened as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"more than the {limit} bytes that are allowed")
    return data
