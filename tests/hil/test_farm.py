# SPDX-License-Identifier: Apache-2.0
"""A labgrid farm on this machine: coordinator, exporter, and a simulator on a TCP serial line as a place.

labgrid replaces pyserial's files, so it has an environment of its own, and this runs there: docs/hil.md.
"""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from host.boards import load_board
from host.errors import TargetError
from host.link.client import Client
from host.places import build_root
from host.targets import open_target, simulators

pytest.importorskip("labgrid", reason="labgrid is not installed here: pip install 'hartspeak[farm]' (docs/hil.md)")

START_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port))).close()
            return
        except OSError:
            assert time.monotonic() < end, f"nothing listens on {address}"
            time.sleep(0.2)


class Rig:
    """QEMU with its serial line on a TCP port, and a power switch with a web page."""

    def __init__(self, image: Path) -> None:
        self.line, self.states = free_port(), list[str]()
        board = load_board("qemu-virt")
        firmware = simulators.firmware_files(board, "scalar", build_root())
        self._command = simulators.qemu_command(board, firmware, image, "scalar", 0, 1)
        self._command += ["-serial", f"tcp:127.0.0.1:{self.line},server=on,wait=off"]
        rig = self

        class Switch(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                rig.switch(self.path.rpartition("/")[2])
                self.send_response(200)
                self.end_headers()
                self.wfile.write(rig.states[-1].encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Switch)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self._qemu: subprocess.Popen[bytes] | None = None
        self.switch("1")

    def switch(self, value: str) -> None:
        self.states.append(value)
        if value == "0" and self._qemu:
            self._qemu.kill()
            self._qemu.wait()
            self._qemu = None
        elif value == "1" and not self._qemu:
            self._qemu = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)

    def close(self) -> None:
        self.switch("0")
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def rig(tiny: Path) -> Iterator[Rig]:
    found = Rig(tiny)
    yield found
    found.close()


@pytest.fixture
def farm(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("LG_COORDINATOR", address)
    power = f"http://127.0.0.1:{rig.server.server_address[1]}/{{index}}/{{value}}"
    (tmp_path / "rig.yaml").write_text(
        f"sim:\n  NetworkSerialPort:\n    host: 127.0.0.1\n    port: {rig.line}\n    protocol: raw\n    speed: 115200\n"
        f"  NetworkPowerPort:\n    model: simplerest\n    host: '{power}'\n    index: 0\n"
    )
    exporter = ["exporter", "-c", address, "-n", "bench", "--hostname", "127.0.0.1", str(tmp_path / "rig.yaml")]
    with ExitStack() as stack:
        for words in (["coordinator", "-l", address], exporter):
            command = [sys.executable, "-m", f"labgrid.remote.{words[0]}", *words[1:]]
            process = stack.enter_context(subprocess.Popen(command, cwd=tmp_path))
            stack.callback(process.terminate)
            await_port(address)
        client = [sys.executable, "-m", "labgrid.remote.client"]
        end = time.monotonic() + START_SECONDS
        while b"sim" not in subprocess.run([*client, "resources"], capture_output=True).stdout:
            assert time.monotonic() < end, "the exporter did not come up"
            time.sleep(0.5)
        subprocess.run([*client, "-p", "vf2", "create"], check=True)
        subprocess.run([*client, "-p", "vf2", "add-match", "bench/sim/*"], check=True)
        yield "vf2"


def test_a_place_is_acquired_powered_and_talked_to(farm: str, rig: Rig) -> None:
    with open_target(f"farm:{farm}", None) as target:
        client = Client(target)
        client.connect(timeout=60)
        assert client.info.board == "qemu-virt"
        client.prompt([3, 4, 5])
        answer = [token.id for token in client.generate(5)]
        show = [sys.executable, "-m", "labgrid.remote.client", "-p", farm, "show"]
        assert b"acquired: None" not in subprocess.run(show, capture_output=True, check=True).stdout
        target.reset()
        assert rig.states[-2:] == ["0", "1"]
    with open_target(f"farm:{farm}", None) as target:
        client = Client(target)
        client.connect(timeout=60)
        client.prompt([3, 4, 5])
        assert [token.id for token in client.generate(5)] == answer
    with pytest.raises(TargetError, match="labgrid-client -p absent acquire"):
        open_target("farm:absent", None)
    assert "LG_COORDINATOR" in os.environ
