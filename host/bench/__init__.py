# SPDX-License-Identifier: Apache-2.0
"""How fast an image runs on a target and where the time goes: what ``host bench`` prints."""
