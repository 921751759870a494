# SPDX-License-Identifier: Apache-2.0
"""The logits of fixed models and tokens are those in digests.json, bit for bit, in this version and on every target.

Where they change on purpose, ``python -m tools.digests --write`` writes the file anew, and the commit says why. The
other targets and SmolLM2 run with --slow.
"""

from __future__ import annotations

from collections import Counter

import pytest

from host.errors import SourceError
from host.pytest_device import Device
from host.schema.formats import formats
from host.targets import parse_spec
from tests.support import digests

REAL = [name for name, case in digests.CASES.items() if case.family == digests.RECIPE]
SMALL = [name for name in digests.CASES if name not in REAL]


@pytest.fixture(scope="session", autouse=True)
def reference() -> None:
    """These tests need neither torch nor transformers: the file is the reference."""


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> digests.Images:
    return digests.Images(tmp_path_factory.mktemp("digests"))


@pytest.fixture(scope="session")
def known() -> dict[str, str]:
    return digests.read_digests()


def check(device: Device, names: list[str], known: dict[str, str], images: digests.Images) -> None:
    """Every case gives the digest in the file."""
    digests.build_target(device.spec)
    found: dict[str, set[str]] = {}
    for name in names:
        case = digests.CASES[name]
        for layout in digests.layouts(case, device.spec):
            client = device.connect(images.path(name, layout))
            found.setdefault(name, set()).add(digests.digest(client, case.script))
    assert found == {name: {known[name]} for name in names}


@pytest.mark.parametrize("part", sorted({name.split("/")[0] for name in SMALL}))
def test_small_models(part: str, known: dict[str, str], images: digests.Images) -> None:
    spec = parse_spec(digests.REFERENCE)
    digests.build_target(spec)
    names = [name for name in SMALL if name.startswith(f"{part}/") and name in known]
    assert {name: digests.digests_of(spec, name, images) for name in names} == {name: {known[name]} for name in names}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.targets(*digests.TARGETS[1:])
def test_small_models_elsewhere(device: Device, known: dict[str, str], images: digests.Images) -> None:
    check(device, [name for name in SMALL if name in known], known, images)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.targets(*digests.TARGETS)
def test_smollm2(device: Device, known: dict[str, str], images: digests.Images) -> None:
    try:
        images.path(REAL[0], digests.layouts(digests.CASES[REAL[0]], device.spec)[0])
    except SourceError as error:
        pytest.skip(f"SmolLM2 cannot be fetched: {error}")
    check(device, REAL, known, images)


def test_the_file_is_whole(known: dict[str, str]) -> None:
    """A digest for each case, but for those of a new format or family; twins share theirs, and no others do.

    So none is of logits that say nothing.
    """
    new = [formats()[name] for name in digests.unwritten_formats(known)]
    assert set(known) == {
        name
        for name, case in digests.CASES.items()
        if case.options.weights not in new and (name in known or not name.startswith("rows/"))
    }
    twins = {name: case.twin for name, case in digests.CASES.items() if case.twin}
    assert {name: known[name] for name in twins} == {name: known[twin] for name, twin in twins.items()}
    alone = Counter(digest for name, digest in known.items() if name not in twins)
    assert set(alone.values()) == {1}
