# SPDX-License-Identifier: Apache-2.0
"""A board that is there already, behind a serial port or a socket."""

from __future__ import annotations

from host.targets.base import Target
from host.targets.hooks import Hooks
from host.targets.serial_line import SerialTarget
from host.targets.socket_line import SocketTarget
from host.targets.spec import TargetSpec


def open_port(spec: TargetSpec, hooks: Hooks) -> Target:
    """Open the port that the spec names. Raises TargetError."""
    return SocketTarget(spec, hooks) if spec.port.startswith("socket:") else SerialTarget(spec, hooks)
