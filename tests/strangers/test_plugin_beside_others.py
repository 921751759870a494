# SPDX-License-Identifier: Apache-2.0
"""Other plugins' and projects' options, settings and fixtures beside ours.

Whoever installs hartspeak has its plugin in every project of that environment.
"""

from __future__ import annotations

import pytest

from tests.support.fake_device import FakeServer

pytest_plugins = ["pytester"]

NAMES = ("target", "image", "reset-command", "power-command", "board-wait", "faults")
OPTIONS = "def pytest_addoption(parser):\n" + "".join(f"    parser.addoption('--{name}')\n" for name in NAMES)
OWN = "def test_own(request):\n    assert request.config.getoption('--target') == {!r}\n"
ANSWER = "def test_it({0}):\n    {0}.prompt([1])\n    assert [token.id for token in {0}.generate(2)] == [2, 3]\n"


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rs", *arguments)


def test_a_projects_own_options_stay_its_own(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(OPTIONS)
    pytester.makepyfile(OWN.format(None))
    run(pytester).assert_outcomes(passed=1)
    pytester.makepyfile(OWN.format("esp32"))
    for words in (["--target", "esp32"], ["--target=esp32"]):
        run(pytester, *words, "--image=none.bin").assert_outcomes(passed=1)


def test_another_plugins_options_stay_its_own(pytester: pytest.Pytester) -> None:
    """Ours is loaded before it."""
    pytester.makepyfile(another=OPTIONS)
    pytester.makepyfile(OWN.format("esp32"))
    pytester.syspathinsert()
    run(pytester, "-p", "another", "--target", "esp32").assert_outcomes(passed=1)


def test_ours_work_by_their_whole_name_beside_others(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(OPTIONS)
    pytester.makepyfile("def test_it(target_spec, image): print('on', target_spec, image)")
    done = run(pytester, "-s", "--hart-target", "spike:vlen=128", "--hart-image=x.hsp", "--target", "esp32")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*on spike:vlen=128 x.hsp*"])


def test_a_short_option_is_no_path(pytester: pytest.Pytester) -> None:
    """Of its value nothing is collected, so the settings' testpaths and their conftest.py count."""
    pytester.makeini("[pytest]\ntestpaths = sub\n")
    folder = pytester.mkdir("sub")
    (folder / "conftest.py").write_text("def pytest_addoption(parser):\n    parser.addoption('--late')\n")
    (folder / "test_it.py").write_text("def test_it(target_spec): assert target_spec == 'linux'\n")
    run(pytester, "--target", "linux", "--late=1").assert_outcomes(passed=1)


@pytest.mark.parametrize("ini", ["hart_targets", "targets"])
def test_settings_name_targets(pytester: pytest.Pytester, ini: str) -> None:
    pytester.makeini(f"[pytest]\n{ini} = spike linux\n")
    pytester.makepyfile("def test_it(target_spec): assert target_spec in ('spike', 'linux')")
    run(pytester).assert_outcomes(passed=2)


def test_another_meaning_of_targets_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_addoption(parser): parser.addini('targets', 'chips', type='linelist')")
    pytester.makeini("[pytest]\ntargets = esp32 and esp32s3\n")
    pytester.makepyfile(
        "def test_it(target_spec, pytestconfig):\n    assert target_spec == 'native'\n"
        "    assert pytestconfig.getini('targets') == ['esp32 and esp32s3']"
    )
    run(pytester).assert_outcomes(passed=1)


def test_another_plugins_fixtures_stay_its_own(pytester: pytest.Pytester) -> None:
    """pytest-django, for one, has a ``client``."""
    pytester.makepyfile(web="import pytest\n@pytest.fixture\ndef client(): return 'web'\n")
    pytester.makepyfile("def test_web(client): assert client == 'web'\n" + ANSWER.format("hart_client"))
    pytester.syspathinsert()
    server = FakeServer()
    try:
        run(pytester, "-p", "web", "--hart-target", server.target).assert_outcomes(passed=2)
    finally:
        server.close()
