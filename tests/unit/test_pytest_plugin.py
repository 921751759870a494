# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin as another project has it: markers, skips, reports, limits and locks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from host.targets.lock import BoardLock
from tests.support.fake_device import FakeServer
from tests.support.tiny import tiny_image, tiny_llama

pytest_plugins = ["pytester"]

ANSWER = """
    import pytest

    def test_answer(client):
        client.prompt([1])
        assert [token.id for token in client.generate(2)] == {expected}
"""


@pytest.fixture
def board() -> Iterator[str]:
    """A board behind a TCP port."""
    server = FakeServer()
    yield server.target
    server.close()


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rs", *arguments)


def test_a_test_runs_on_every_target(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(target_spec): print('on', target_spec)")
    done = run(pytester, "-s", "--target", "native", "--target", "spike:vlen=128", "--target", "serial:/dev/ttyUSB0")
    done.assert_outcomes(passed=3)
    done.stdout.fnmatch_lines(["*on native*", "*on spike:vlen=128*", "*on serial:/dev/ttyUSB0*"])


def test_a_board_answers(pytester: pytest.Pytester, board: str) -> None:
    pytester.makepyfile(ANSWER.format(expected=[2, 3]))
    run(pytester, "--target", board).assert_outcomes(passed=1)


def test_what_a_target_lacks_is_a_skip_with_the_reason(pytester: pytest.Pytester, board: str) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.needs(vlen=512, simulator=True)

        @pytest.mark.needs(rvv=True)
        def test_vector(target_spec): pass

        @pytest.mark.needs(vlen=0)
        def test_own_need_is_the_one(target_spec): pass

        @pytest.mark.needs(vlen=0)
        def test_on_a_board(device): raise AssertionError("not reached")

        @pytest.mark.needs(vlen=0, simulator=False, harts=2)
        def test_said_by_the_board(client): raise AssertionError("not reached")
        """
    )
    done = run(pytester, "--target", "native", "-k", "not board")
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED*needs vlen=512, native has vlen=0"])
    done = run(pytester, "--target", board, "-k", "board")
    done.assert_outcomes(skipped=2)
    done.stdout.fnmatch_lines_random(
        ["SKIPPED*needs simulator=True, socket:* is none", "SKIPPED*needs harts=2, fake has harts=1"]
    )


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ("rv=True", "*needs(rv=...): there is no such ability*"),
        ("vlen='wide'", "*needs(vlen='wide'): invalid literal*"),
        ("dram='much'", "*needs(dram='much'): 'much' is not a size*"),
        ("rvv='yes'", "*needs(rvv='yes'): it is a bool*"),
        ("'rvv'", "*needs('rvv'): write needs(NAME=VALUE)*"),
    ],
)
@pytest.mark.parametrize("target", ["native", "serial:/dev/ttyUSB0"])
def test_needs_without_a_meaning_are_refused(pytester: pytest.Pytester, target: str, needs: str, words: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.needs({needs})\ndef test_it(target_spec): pass")
    done = run(pytester, "--target", target)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([words])


def test_an_unknown_target_is_refused(pytester: pytest.Pytester) -> None:
    done = run(pytester, "--target", "visionfive3")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*there is no target 'visionfive3'; did you mean visionfive2@spike? known are *"])


def test_a_failure_shows_bytes_frames_and_log(pytester: pytest.Pytester, board: str) -> None:
    pytester.makepyfile(ANSWER.format(expected=[9, 9]))
    done = run(pytester, "--target", board)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*last bytes*", "* bytes from the device, the last *", "* bytes to the device*"])
    done.stdout.fnmatch_lines(["*frames and lines*", "* > <GENERATE *", "* < <TOKENS *", "* < <DONE *"])


def test_a_failure_shows_how_a_simulator_ended(pytester: pytest.Pytester) -> None:
    tiny_image(pytester.path / "tiny.hsp", tiny_llama())
    pytester.makepyfile("def test_end(client, device):\n    device.target._process.kill()\n    client.ping()")
    done = run(pytester, "--target", "native", "--image", "tiny.hsp")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*native*: log (ended by signal SIGKILL)*"])


def test_a_board_that_is_not_there_is_told_without_a_traceback(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(client): pass")
    done = run(pytester, "--target", "serial:/dev/ttyNothing")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*/dev/ttyNothing at 115200 cannot be opened: No such file*is it plugged in?*"])
    done.stdout.no_fnmatch_line("*serial_line.py*")
    done.stdout.no_fnmatch_line("*another exception*")


def test_two_runs_never_share_a_board(pytester: pytest.Pytester, board: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # workers of one run wait for one another
    pytester.makepyfile(ANSWER.format(expected=[2, 3]))
    with BoardLock(board):
        done = run(pytester, "--target", board)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([f"*is in use by process {os.getpid()}, another run of tests*"])


def test_limits_of_time_scale_with_the_target(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_it(request, target_spec):
            limit = {"native": 70, "qemu-virt": 160, "spike": 660, "serial:/dev/x": 260}[target_spec]
            assert request.node.get_closest_marker("timeout").args == (limit,)

        @pytest.mark.timeout(5)
        def test_own(request, target_spec):
            assert [mark.args for mark in request.node.iter_markers("timeout")] == [(5,)]
        """
    )
    targets = [word for name in ("native", "qemu-virt", "spike", "serial:/dev/x") for word in ("--target", name)]
    run(pytester, *targets).assert_outcomes(passed=8)
