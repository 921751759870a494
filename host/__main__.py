# SPDX-License-Identifier: Apache-2.0
"""``python -m host``: the same as the ``host`` command, whose name BIND's tool also has."""

from host.cli import main

main()
