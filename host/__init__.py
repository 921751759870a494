# SPDX-License-Identifier: Apache-2.0
"""hartspeak's host side: import, compile, pack, and talk to a device."""

__version__ = "0.1.0"
