# SPDX-License-Identifier: Apache-2.0
"""Options and fixtures of the whole suite."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from tests.support.commands import HostCommand, host_command
from tests.support.native import Native

# A shell's background job ignores Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, not about the code.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


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


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> HostCommand:
    """Runs ``host`` with these words in this process."""
    return host_command(monkeypatch, capsys)
