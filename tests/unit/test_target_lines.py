# SPDX-License-Identifier: Apache-2.0
"""Targets behind a line that is there already: serial ports, adapters that are unplugged, sockets."""

from __future__ import annotations

import os
import pty
import socket
import termios
import threading
from pathlib import Path

import pytest
import serial
import serial.rfc2217

from host.errors import TargetError
from host.targets import hooks, open_target, serial_line
from tests.support.link import read_exactly


def test_socket_target_talks_and_notices_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(peer.recv(5)[::-1])

        thread = threading.Thread(target=serve)
        thread.start()
        with open_target(f"socket://127.0.0.1:{server.getsockname()[1]}", None) as target:
            target.write(b"abcde")
            got = b""
            while len(got) < 5:
                got += target.read(1.0)
            assert got == b"edcba"
            thread.join()
            with pytest.raises(TargetError, match="went away"):
                read_exactly(target, 1)


def test_a_socket_keeps_what_comes_while_it_opens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"boot report")
                peer.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        with open_target(f"socket://127.0.0.1:{server.getsockname()[1]}", None) as target:
            assert read_exactly(target, 11) == b"boot report"
            with pytest.raises(TargetError, match="--reset-command"):
                target.reset()
        thread.join()


def test_rfc2217_carries_bytes() -> None:
    """A server by pyserial's own half of the protocol."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer, serial.serial_for_url("loop://") as port:
                peer.settimeout(120)
                manager = serial.rfc2217.PortManager(port, peer.makefile("wb", buffering=0))
                got = b""
                while b"!" not in got:
                    got = b"".join(manager.filter(peer.recv(100)))
                    peer.sendall(b"".join(manager.escape(got[::-1])))

        thread = threading.Thread(target=serve)
        thread.start()
        with open_target(f"rfc2217://127.0.0.1:{server.getsockname()[1]}?ign_set_control", None) as target:
            target.write(b"ab!")
            assert read_exactly(target, 3) == b"!ba"
        thread.join()


def test_an_unplugged_device_says_so() -> None:
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    os.close(slave)
    with open_target(f"serial:{path}", None) as target:
        os.write(master, b"hello")
        assert read_exactly(target, 5) == b"hello"
        os.close(master)
        with pytest.raises(TargetError, match="plugged in"):
            read_exactly(target, 1)
        assert not target.alive
        assert target.exit_reason


def test_a_device_unplugged_while_bytes_go_out_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with open_target(os.ttyname(slave), None) as target:

        def tcdrain(_fd: int) -> None:
            raise termios.error(5, "Input/output error")

        monkeypatch.setattr(termios, "tcdrain", tcdrain)
        with pytest.raises(TargetError, match="Input/output error"):
            target.write(b"hello")
    os.close(master)
    os.close(slave)


def test_an_adapter_without_power_is_opened_again_after_a_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pty.openpty(), pty.openpty()
    port = tmp_path / "ttyUSB0"
    port.symlink_to(os.ttyname(first[1]))
    os.close(first[1])

    def switch(_hooks: hooks.Hooks, _description: str) -> None:
        os.close(first[0])
        port.unlink()
        threading.Timer(0.3, lambda: port.symlink_to(os.ttyname(second[1]))).start()

    monkeypatch.setattr(hooks.Hooks, "reset", switch)
    with open_target(f"serial:{port}", None) as target:
        target.reset()
        os.write(second[0], b"hello")
        assert read_exactly(target, 5) == b"hello"
    for fd in second:
        os.close(fd)


def test_an_adapter_that_stays_away_after_a_reset_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    monkeypatch.setattr(serial_line, "RETURN_SECONDS", 0.3)
    with open_target(os.ttyname(slave), None, hooks=hooks.Hooks(reset_command="true")) as target:
        os.close(master)
        os.close(slave)
        with pytest.raises(TargetError, match=r"\b0\.3 s\b.*\breset\b"):
            target.reset()


def test_a_device_that_is_open_elsewhere_says_so() -> None:
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    with open_target(path, None), pytest.raises(TargetError, match="nother program"):
        open_target(path, None)
    os.close(master)
    os.close(slave)


def test_what_is_no_serial_device_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="serial device"):
        open_target(f"serial:{tmp_path / 'file'}", None)


def test_wrong_devices_are_errors(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="host ports"):
        open_target("/dev/ttyNothing", None)
    with pytest.raises(TargetError, match="cannot be opened"):
        open_target("socket://127.0.0.1:1", None)
    with pytest.raises(TargetError, match="host pack"):
        open_target("native", tmp_path / "absent.hsp")
