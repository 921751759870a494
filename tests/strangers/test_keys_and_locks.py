# SPDX-License-Identifier: Apache-2.0
"""Keys that anybody can sign for, lock files through links, commas for QEMU, lost descriptors.

Small things at the edge of the machine, each of which let somebody in or lost something.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from host.boards import load_board
from host.errors import TargetError, UsageError
from host.targets import lock, simulators
from host.targets.hooks import Hooks
from host.targets.lock import BoardLock
from host.targets.simulators import Firmware, open_spike, option_value, qemu_command, uboot_command
from host.targets.spec import parse_spec
from host.trust.keys import PRIME, is_locked, is_sound, load_private, load_public, public_bytes
from tools.scons.options import make_options

SQUARE_ROOT = pow(2, (PRIME - 1) // 4, PRIME)
"""Of -1, modulo PRIME."""


def orders_of_eight() -> list[int]:
    """y of the points whose double is (+-sqrt(-1), 0), by the curve's equation."""
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    # The double's y is (y^2 + x^2) / (...) = 0, so x^2 = -y^2, so d y^4 + 2 y^2 - 1 = 0: y^2 = (-1 +- sqrt(1 + d)) / d.
    root = pow(1 + d, (PRIME + 3) // 8, PRIME)
    root = root if root * root % PRIME == (1 + d) % PRIME else root * SQUARE_ROOT % PRIME
    found = []
    for sign in (1, -1):
        square = (-1 + sign * root) * pow(d, -1, PRIME) % PRIME
        y = pow(square, (PRIME + 3) // 8, PRIME)
        y = y if y * y % PRIME == square else y * SQUARE_ROOT % PRIME
        found += [y, PRIME - y] if y * y % PRIME == square else []
    return found


BAD = [0, 1, PRIME - 1, PRIME, PRIME + 1, *orders_of_eight()]
"""y of small order: 0 and the points of order 8 and 4, 1, -1; two of them in a second spelling."""


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", BAD)
def test_a_key_of_small_order_is_refused(tmp_path: Path, y: int, sign: int) -> None:
    raw = (y | sign << 255).to_bytes(32, "little")
    assert not is_sound(raw)
    pem = Ed25519PublicKey.from_public_bytes(raw).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "key.pub").write_bytes(pem)
    with pytest.raises(UsageError, match="can sign"):
        load_public(tmp_path / "key.pub")
    given = dict.fromkeys(("kernels", "harts", "watchdog", "cache"), "") | {"lowest_version": "0"}
    with pytest.raises(UsageError, match="can sign"):
        make_options(load_board("native"), given | {"key": str(tmp_path / "key.pub"), "build": "build"})


def test_points_of_order_eight_are_among_them() -> None:
    assert len(BAD) == 7


@pytest.mark.parametrize("load", [load_public, load_private, is_locked])
def test_what_is_no_file_or_endless_is_no_key(load: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero"), tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="cannot read"):
            load(path)


def test_good_keys_are_taken_and_what_is_no_point_is_not() -> None:
    generator = random.Random(7)
    for _ in range(50):
        seed = generator.randbytes(32)
        assert is_sound(public_bytes(Ed25519PrivateKey.from_private_bytes(seed).public_key()))
    drawn = [is_sound(generator.randbytes(32)) for _ in range(60)]
    assert 10 < sum(drawn) < 50  # every second y has an x


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files in which anybody may write."""
    monkeypatch.setattr(lock.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_lock_follows_no_link(shared: Path) -> None:
    victim = shared / "victim"
    victim.write_text("precious")
    with BoardLock("/dev/ttyX"):
        (file,) = lock.lock_folder().iterdir()
    file.unlink()
    file.symlink_to(victim)
    with pytest.raises(TargetError, match="remove"):
        BoardLock("/dev/ttyX").__enter__()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("what", ["link", "file", "open"])
def test_a_folder_of_somebody_else_holds_no_locks(shared: Path, what: str) -> None:
    folder = shared / f"hartspeak-{os.getuid()}"
    other = shared / "other"
    other.mkdir()
    if what == "link":
        folder.symlink_to(other)
    elif what == "file":
        folder.write_text("x")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(TargetError, match="only you"):
        BoardLock("/dev/ttyX").__enter__()
    assert list(other.iterdir()) == []


def test_a_lock_that_is_not_had_loses_no_descriptor(shared: Path) -> None:
    assert shared
    with BoardLock("/dev/ttyX"):
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for _ in range(5):
            with pytest.raises(TargetError, match="in use"):
                BoardLock("/dev/ttyX").__enter__()
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_ports_name_is_one_word_of_a_benchs_command(tmp_path: Path) -> None:
    said = tmp_path / "said"
    port = f"/dev/tty $(touch {tmp_path}/ran); x"
    Hooks(port, reset_command=f"printf %s {{target}} >{said}").reset("board")
    assert said.read_text() == port
    assert not (tmp_path / "ran").exists()


def test_commas_in_paths_reach_qemu_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulators, "qemu_program", lambda: "qemu")
    monkeypatch.setattr(simulators, "uboot_program", lambda: Path("u-boot"))
    path = Path("/a,b/x,,addr=0.hsp")
    assert option_value(path) == "/a,,b/x,,,,addr=0.hsp"
    board = load_board("qemu-virt")
    command = qemu_command(board, Firmware(Path(), Path("/a,b/firmware.elf")), path, "scalar", 0, 1)
    assert f"loader,file={option_value(path)},addr=" in " ".join(command)
    assert "/a,b/firmware.elf" in command  # no option's value: as it is
    line = uboot_command(load_board("qemu-virt-s"), parse_spec("qemu-virt-s"), path)(3)
    assert f"if=none,id=disk,format=raw,file={option_value(path)}" in line


@pytest.mark.parametrize("target", ["spike", "visionfive2@spike"])
def test_a_spike_that_was_closed_leaves_nothing(target: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulators, "find_spike", lambda _: Path("/bin/true"))
    spec = parse_spec(target)
    board, firmware = load_board(spec.board), Firmware(shared, shared / "firmware.elf")
    open_spike(board, spec, firmware, None, None).close()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(4):
        open_spike(board, spec, firmware, None, None).close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert list(shared.iterdir()) == []
