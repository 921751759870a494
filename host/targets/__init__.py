# SPDX-License-Identifier: Apache-2.0
"""Targets: whatever answers over a byte stream, a board or a simulator. ``open_target`` is all that others need."""

from host.targets.base import Target
from host.targets.opening import open_target
from host.targets.spec import TargetSpec, parse_spec

__all__ = ["Target", "TargetSpec", "open_target", "parse_spec"]
