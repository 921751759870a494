# SPDX-License-Identifier: Apache-2.0
"""Options and fixtures of the whole suite."""

from __future__ import annotations

import pytest

from tests.support.native import Native


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))


@pytest.fixture(scope="session")
def native() -> Native:
    """The engine with one hart, in this process. Each test loads its own image."""
    return Native(1)


@pytest.fixture(scope="session")
def native4() -> Native:
    """The same with four harts."""
    return Native(4)
