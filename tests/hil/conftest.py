# SPDX-License-Identifier: Apache-2.0
"""What the tests on targets share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny import tiny_image, tiny_llama


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --hart-target only what is about targets runs."""
    if config.getoption("--hart-target"):
        for item in items:
            if "hart_spec" not in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="not about a target"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of a tiny model."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.hsp"
    tiny_image(path, tiny_llama())
    return path
