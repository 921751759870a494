# SPDX-License-Identifier: Apache-2.0
"""Boot reports, harts, traps and power-off on the simulators, without a model."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from host.boards import load_board
from host.errors import TargetError
from host.places import build_root
from host.pytest_device import Device
from host.targets import Target, open_target, simulators
from tests.support.hosted import native_program


def read_until(target: Target, words: bytes, seconds: float = 120) -> bytes:
    """What came up to and behind the words; fails showing what came instead."""
    got, end = b"", time.monotonic() + seconds
    while words not in got:
        assert time.monotonic() < end, f"{words!r} did not come within {seconds} s; last bytes {got[-500:]!r}"
        got += target.read(0.5)
    return got


FACTS = {
    "qemu-virt:harts=3": [b"rv64gc_zba_zbb,", b"3 harts"],
    "qemu-virt:rvv,vlen=512,harts=1": [b"VLEN 512", b"1 hart,"],
    "spike:vlen=128,harts=2": [b"rv64gcv", b"VLEN 128", b"2 harts"],
    "spike:scalar": [b"rv64gc_zba_zbb,", b"1 hart,", b"kernels scalar"],
    "visionfive2@spike": [b"on visionfive2", b"rv64gc_zba_zbb", b"4 harts"],
    "visionfive2@spike:harts=2": [b"2 harts"],
}


@pytest.mark.targets(*FACTS)
@pytest.mark.needs(simulator=True, hosted=False)
def test_firmware_boots_and_reports_what_it_runs_on(device: Device) -> None:
    device.start()
    report = device.expect(b"no model")
    facts = [f"on {device.spec.board}".encode(), f"{device.spec.harts} hart".encode()]
    assert all(fact in report for fact in facts + FACTS.get(device.spec.text, [])), report
    assert device.target.alive
    device.close()
    assert not device.target.alive


@pytest.mark.targets("native", "qemu-virt:harts=1", "spike:scalar", "visionfive2@spike:harts=1")
@pytest.mark.needs(simulator=True)
def test_a_reset_device_boots_again(device: Device, tiny: Path) -> None:
    client = device.connect(tiny)
    client.prompt([3, 4, 5])
    answer = [token.id for token in client.generate(4)]
    device.reset()
    client.connect()
    assert client.truncate(0) == 0
    client.prompt([3, 4, 5])
    assert [token.id for token in client.generate(4)] == answer


def test_trap_prints_cause_and_ends_the_simulator() -> None:
    """Scalar code on a core without floats: fcsr is the first that is missing."""
    with open_target("spike:scalar,isa=rv64imac_zba_zbb_zicsr_zifencei_zicntr_zihpm", None) as target:
        report = read_until(target, b"hart 0x0000000000000000\r\n")
        assert b"TRAP: illegal instruction; cause 0x0000000000000002 epc 0x000000008" in report
        with pytest.raises(TargetError, match="exit status 1"):
            read_until(target, b"never")


def test_payload_at_another_address_says_so(tmp_path: Path) -> None:
    """The firmware checks its link address: a payload that SBI enters elsewhere must not run."""
    with open_target("visionfive2@spike:harts=1", None) as target:
        read_until(target, b"no model")
    board = load_board("visionfive2")
    folder = simulators.firmware_files(board, "scalar", build_root()).directory
    moved = tmp_path / "visionfive2"
    moved.mkdir()
    shutil.copy(folder / "shim.elf", moved)
    # One instruction of padding moves everything: c.nop, c.nop and the whole firmware behind them.
    code = (folder / "firmware.bin").read_bytes()
    (moved / "firmware.bin").write_bytes(b"\x01\x00" * 32 + code)
    (moved / "firmware.elf").write_bytes(b"")
    with open_target(f"visionfive2@spike:harts=1,build={tmp_path}", None) as target:
        read_until(target, b"not loaded at the address that it was built for")


def test_hosted_firmware_ends_when_its_line_closes(tiny: Path) -> None:
    target = open_target("native", tiny)
    read_until(target, b"ready")
    target.close()
    assert target.exit_reason == "ended with exit status 0"


def test_hosted_firmware_serves_tcp(tiny: Path) -> None:
    open_target("native", tiny).close()
    program = native_program()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen([program, "--image", tiny, "--tcp", f"127.0.0.1:{port}"]) as process:
        try:
            for _ in range(2):
                with connect(port) as target:
                    read_until(target, b"\x00")
        finally:
            process.kill()


def connect(port: int) -> Target:
    for _ in range(2000):
        try:
            return open_target(f"socket://127.0.0.1:{port}", None)
        except TargetError:
            time.sleep(0.05)
    return open_target(f"socket://127.0.0.1:{port}", None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "usage"),
        (["--image", "/absent"], "cannot open image"),
        (["--image", "/"], "not an image file"),
        (["--image", "/bin/sh", "--harts", "99"], "--harts"),
        (["--image", "/bin/sh", "--tty", "/dev/null"], "not a serial line"),
        (["--image", "/bin/sh", "--tcp", "nowhere"], "not HOST:PORT"),
        (["--imaeg", "/bin/sh"], "unknown option --imaeg"),
    ],
)
def test_hosted_firmware_refuses_wrong_options(tiny: Path, options: list[str], words: str) -> None:
    open_target("native", tiny).close()
    program = native_program()
    done = subprocess.run(
        [program, *options], capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode != 0
    assert words in done.stderr
