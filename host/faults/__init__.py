# SPDX-License-Identifier: Apache-2.0
"""A line that breaks on purpose, by a seed, between a host and any target; and one with the timing of a real line."""

from host.faults.stream import BrokenStream
from host.faults.way import KINDS, Faults, Kind, Way

__all__ = ["KINDS", "BrokenStream", "Faults", "Kind", "Way"]
