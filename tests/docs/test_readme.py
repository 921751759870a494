# SPDX-License-Identifier: Apache-2.0
"""The README's commands: in a file of their own, for they take as long as all the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_commands import checkout, run_page, runs_here

__all__ = ["checkout"]


@pytest.mark.timeout(1800)
def test_commands_run(checkout: Path) -> None:
    assert runs_here("README.md")
    run_page("README.md", checkout)
