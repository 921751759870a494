# SPDX-License-Identifier: Apache-2.0
"""pytest with boards and simulators: the same tests on every ``--target``. docs/hil.md tells how to use it.

Other projects get this plugin by installing the package; nothing of the package is imported before it is needed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from host.link.client import Client
    from host.pytest_device import Device

DEFAULT_TARGETS = ("native",)
BASE_SECONDS = 60.0
NATIVE_SECONDS = 10.0
"""A test's limit is the base and so much for each time that its target is slower than this machine."""
WORKER_SECONDS = 600.0
"""For which a worker of pytest-xdist waits until another one has done its test on the same board."""
DEVICE = pytest.StashKey["Device"]()
LOCKS = pytest.StashKey[contextlib.ExitStack]()
HELD = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this plugin."""
    group = parser.getgroup("hartspeak", "boards and simulators")
    group.addoption(
        "--target",
        action="append",
        default=[],
        metavar="SPEC",
        help="run tests that use a device on it; may be repeated: native, qemu-virt:rvv,vlen=256, spike:vlen=128, "
        "visionfive2@spike, serial:/dev/ttyUSB0, socket://HOST:PORT, rfc2217://HOST:PORT, farm:PLACE",
    )
    group.addoption("--image", metavar="FILE", help="model image that the tests use, and that boards run")
    group.addoption("--reset-command", default="", metavar="SH", help="resets a board; {target} is its port")
    group.addoption("--power-command", default="", metavar="SH", help="switches a board's power; {state} is on or off")
    group.addoption("--board-wait", type=float, default=0.0, metavar="SECONDS", help="wait for a board that is in use")
    group.addoption("--faults", type=int, metavar="SEED", help="break the line between host and device, by this seed")
    parser.addini("targets", "targets where --target is not given", type="args", default=list(DEFAULT_TARGETS))


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers and refuse wrong targets before anything is collected."""
    from host.errors import HostError
    from host.targets import parse_spec
    from host.targets.abilities import missing_program

    config.addinivalue_line("markers", "targets(*specs): targets of this test where --target is not given")
    config.addinivalue_line("markers", "needs(rvv=True, dram='512M', ...): skip where the target lacks something")
    try:
        for text in config.getoption("--target"):
            if missing := missing_program(parse_spec(text)):
                raise pytest.UsageError(f"--target {text}: {missing}")
    except HostError as error:
        raise pytest.UsageError(f"--target: {error}") from None
    config.stash[LOCKS] = contextlib.ExitStack()
    config.stash[HELD] = set()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Release the boards."""
    if LOCKS in config.stash:
        config.stash[LOCKS].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each target."""
    if "target_spec" in metafunc.fixturenames:
        metafunc.parametrize("target_spec", _targets(metafunc), ids=str)


def _targets(metafunc: pytest.Metafunc) -> Sequence[Any]:
    asked: list[str] = metafunc.config.getoption("--target")
    if asked:
        return asked
    marker = metafunc.definition.get_closest_marker("targets")
    if marker:
        return marker.args
    found: list[str] = metafunc.config.getini("targets")
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what a simulator lacks, and scale limits of time, where pytest-timeout is there."""
    from host.errors import HostError

    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and "target_spec" in call.params:
            try:
                _prepare(item, call.params["target_spec"], config.pluginmanager.hasplugin("timeout"))
            except HostError as error:
                raise pytest.UsageError(f"{item.nodeid}: {error}") from None


def _needs(item: pytest.Item) -> dict[str, Any]:
    """Of all markers; a test's own come before those of its class and module. Raises UsageError."""
    from host.errors import UsageError
    from host.targets.abilities import read_needs

    found: dict[str, object] = {}
    for marker in item.iter_markers("needs"):
        if marker.args:
            raise UsageError(f"needs({', '.join(map(repr, marker.args))}): write needs(NAME=VALUE)")
        found = {**marker.kwargs, **found}
    return read_needs(found)


def _prepare(item: pytest.Item, text: str, limited: bool) -> None:
    from host.targets import parse_spec
    from host.targets.abilities import lacking_before_start, missing_program, slowness

    spec, needs = parse_spec(text), _needs(item)
    reason = missing_program(spec) or lacking_before_start(spec, needs)
    if reason:
        item.add_marker(pytest.mark.skip(reason=reason))
    if limited and not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(BASE_SECONDS + NATIVE_SECONDS * slowness(spec)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the device said last: bytes, frames, log."""
    report = yield
    if report.failed and DEVICE in item.stash:
        report.sections += item.stash[DEVICE].report()
    return report


@pytest.fixture
def image(request: pytest.FixtureRequest) -> Path | None:
    """The model image, of ``--image``; a project's own fixture of this name takes its place."""
    given = request.config.getoption("--image")
    return Path(given) if given else None


@pytest.fixture
def device(request: pytest.FixtureRequest, target_spec: str) -> Iterator[Device]:
    """The target, not yet started; it is closed after the test."""
    from host.errors import TargetError
    from host.pytest_device import Device
    from host.targets import parse_spec
    from host.targets.hooks import Hooks

    option = request.config.getoption
    spec = parse_spec(target_spec)
    hooks = Hooks(spec.port, option("--reset-command"), option("--power-command"))
    found = Device(spec, hooks, _needs(request.node), option("--faults"))
    request.node.stash[DEVICE] = found
    with contextlib.ExitStack() as test:
        try:
            _hold_board(request.config, spec.port, test)
        except TargetError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        test.callback(found.close)
        yield found


def _hold_board(config: pytest.Config, port: str, test: contextlib.ExitStack) -> None:
    """Lock a board until the run's end; workers of pytest-xdist share it from test to test."""
    from host.targets.lock import BoardLock

    held = config.stash[HELD]
    if not port or port in held:
        return
    wait = config.getoption("--board-wait")
    if "PYTEST_XDIST_WORKER" in os.environ:
        test.enter_context(BoardLock(port, max(wait, WORKER_SECONDS)))
    else:
        config.stash[LOCKS].enter_context(BoardLock(port, wait))
        held.add(port)


@pytest.fixture
def client(device: Device, image: Path | None) -> Client:
    """A connection to the started target, with an empty session."""
    from host.errors import HostError

    try:
        return device.connect(image)
    except HostError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
