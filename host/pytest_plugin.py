# SPDX-License-Identifier: Apache-2.0
"""pytest with boards and simulators: the same tests on every ``--hart-target``. docs/hil.md tells how to use it.

Other projects get this plugin by installing the package; nothing of the package is imported before it is needed. Nor
does it take anything from them: its options, settings and fixtures have a prefix, and the short names (``--target``,
``client``) stand for them only where nobody else has these.
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
SHORT_OPTIONS = ("--target", "--image", "--reset-command", "--power-command", "--board-wait", "--faults")
SHORT_SETTING = pytest.StashKey[bool]()
DEVICE = pytest.StashKey["Device"]()
LOCKS = pytest.StashKey[contextlib.ExitStack]()
HELD = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this plugin."""
    group = parser.getgroup("hartspeak", "boards and simulators")
    group.addoption(
        "--hart-target",
        action="append",
        default=[],
        metavar="SPEC",
        help="(or --target, as with all of these, where nobody else has that) run tests that use a device on it; "
        "may be repeated: native, qemu-virt:rvv,vlen=256, spike:vlen=128, "
        "visionfive2@spike, serial:/dev/ttyUSB0, socket://HOST:PORT, rfc2217://HOST:PORT, farm:PLACE",
    )
    group.addoption("--hart-image", metavar="FILE", help="model image that the tests use, and that boards run")
    group.addoption("--hart-reset-command", default="", metavar="SH", help="resets a board; {target} is its port")
    group.addoption("--hart-power-command", default="", metavar="SH", help="switches its power; {state} is on or off")
    group.addoption("--hart-board-wait", type=float, default=0.0, metavar="SECONDS", help="wait for a board in use")
    group.addoption("--hart-faults", type=int, metavar="SEED", help="break the line to the device, by this seed")
    parser.addini("hart_targets", "targets where --hart-target is not given", type="args", default=[])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Take short options for ours once every plugin and conftest.py has had its chance to have them.

    Before that, only for what pytest takes for paths: the value of an option that it does not know.
    """
    known = parser.parse_known_args(_spelled(parser, args))
    early_config.known_args_namespace.file_or_dir[:] = known.file_or_dir
    yield
    args[:] = _spelled(parser, args)
    try:
        early_config.getini("targets")
    except ValueError:
        parser.addini("targets", "as hart_targets", type="args", default=list(DEFAULT_TARGETS))
        early_config.stash[SHORT_SETTING] = True


def _spelled(parser: pytest.Parser, args: list[str]) -> list[str]:
    """Arguments with the short options that nobody has replaced by ours."""
    end = args.index("--") if "--" in args else len(args)
    ours = {name for name in SHORT_OPTIONS if _is_free(parser, name)}
    found = []
    for word in args[:end]:
        name, equals, value = word.partition("=")
        found.append(name.replace("--", "--hart-", 1) + equals + value if name in ours else word)
    return found + args[end:]


def _is_free(parser: pytest.Parser, name: str) -> bool:
    try:
        return bool(parser.parse_known_and_unknown_args([f"{name}=0"])[1])
    except (pytest.UsageError, SystemExit):  # somebody's, who does not take a 0
        return False


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers and refuse wrong targets before anything is collected."""
    from host.errors import HostError
    from host.targets import parse_spec
    from host.targets.abilities import missing_program

    config.addinivalue_line("markers", "targets(*specs): targets of this test where --hart-target is not given")
    config.addinivalue_line("markers", "needs(rvv=True, dram='512M', ...): skip where the target lacks something")
    try:
        for text in config.getoption("--hart-target"):
            if missing := missing_program(parse_spec(text)):
                raise pytest.UsageError(f"--hart-target {text}: {missing}")
    except HostError as error:
        raise pytest.UsageError(f"--hart-target: {error}") from None
    config.stash[LOCKS] = contextlib.ExitStack()
    config.stash[HELD] = set()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Release the boards."""
    if LOCKS in config.stash:
        config.stash[LOCKS].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each target."""
    if "hart_spec" in metafunc.fixturenames:
        metafunc.parametrize("hart_spec", _targets(metafunc), ids=str)


def _targets(metafunc: pytest.Metafunc) -> Sequence[Any]:
    asked: list[str] = metafunc.config.getoption("--hart-target")
    if asked:
        return asked
    marker = metafunc.definition.get_closest_marker("targets")
    if marker:
        return marker.args
    config = metafunc.config
    found: list[str] = config.getini("hart_targets")
    if not found and config.stash.get(SHORT_SETTING, False):
        found = config.getini("targets")
    return found or DEFAULT_TARGETS


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Give our fixtures their short names, where no other plugin has one of these."""
    from host import pytest_short

    manager = session.config.pluginmanager
    others = [plugin for name, plugin in manager.list_name_plugin() if plugin and not name.endswith("conftest.py")]
    if not any(_fixture_names(plugin) & set(pytest_short.NAMES) for plugin in others):
        manager.register(pytest_short, "hartspeak-short")


def _fixture_names(plugin: object) -> set[str]:
    """Names of a plugin's fixtures; pytest 8.4 wraps their functions, older ones mark them."""
    found = set()
    for key, value in [*vars(type(plugin)).items(), *getattr(plugin, "__dict__", {}).items()]:
        marker = getattr(value, "_fixture_function_marker", None) or getattr(value, "_pytestfixturefunction", None)
        if marker is not None:
            found.add(str(getattr(marker, "name", None) or key))
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what a simulator lacks, and scale limits of time, where pytest-timeout is there."""
    from host.errors import HostError

    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and "hart_spec" in call.params:
            try:
                _prepare(item, call.params["hart_spec"], config.pluginmanager.hasplugin("timeout"))
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
def hart_image(request: pytest.FixtureRequest) -> Path | None:
    """The model image, of ``--hart-image``; a project's own fixture of this name takes its place."""
    given = request.config.getoption("--hart-image")
    return Path(given) if given else None


@pytest.fixture
def hart_device(request: pytest.FixtureRequest, hart_spec: str) -> Iterator[Device]:
    """The target, not yet started; it is closed after the test."""
    from host.errors import TargetError
    from host.pytest_device import Device
    from host.targets import parse_spec
    from host.targets.hooks import Hooks

    option = request.config.getoption
    spec = parse_spec(hart_spec)
    hooks = Hooks(spec.port, option("--hart-reset-command"), option("--hart-power-command"))
    found = Device(spec, hooks, _needs(request.node), option("--hart-faults"))
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
    wait = config.getoption("--hart-board-wait")
    if "PYTEST_XDIST_WORKER" in os.environ:
        test.enter_context(BoardLock(port, max(wait, WORKER_SECONDS)))
    else:
        config.stash[LOCKS].enter_context(BoardLock(port, wait))
        held.add(port)


@pytest.fixture
def hart_client(hart_device: Device, hart_image: Path | None) -> Client:
    """A connection to the started target, with an empty session."""
    from host.pytest_device import connect_or_fail

    return connect_or_fail(hart_device, hart_image)
