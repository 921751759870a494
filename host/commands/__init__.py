# SPDX-License-Identifier: Apache-2.0
"""One module a command, each with ``register(app)``; host/cli.py finds them here. They parse, call and print."""
