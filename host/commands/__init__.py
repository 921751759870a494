# SPDX-License-Identifier: Apache-2.0
"""One module a command, each with ``register(app)``; host/command_line/listing.py finds them here.

They parse, call and print. The docstring of a module has a line ````host NAME``: what it does`` for each command.
"""
