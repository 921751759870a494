# SPDX-License-Identifier: Apache-2.0
"""A firmware that hangs or traps in mid-answer starts again, and its host goes on with the same tokens."""

from __future__ import annotations

import json

import pytest

from tools import hangs


@pytest.mark.slow
@pytest.mark.parametrize("spec", hangs.TARGETS)
def test_a_device_that_hangs_or_traps_goes_on_with_the_same_tokens(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hangs.main(["--count", "4", "--target", spec, "--jobs", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert [(row["failure"], row["count"], row["same"]) for row in found["rows"]] == [
        ("HANG", 2, 2),
        ("TRAP", 2, 2),
        ("DEAF", 1, 1),
    ]
