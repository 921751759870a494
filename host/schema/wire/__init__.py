# SPDX-License-Identifier: Apache-2.0
"""The bytes on the wire, declared once. Host, firmware and docs/protocol-messages.md are made from these modules.

Everything is little-endian. ``tools/gen_headers.py wire`` turns constants, enums and structures into ``gen/wire.h``;
``tools/gen_protocol.py`` turns them into docs/protocol-messages.md. The prose is in docs/protocol.md.
"""

MODULES = ("constants", "header", "hello", "requests", "answers", "messages")
"""The modules that declare something, in the order of ``gen/wire.h``."""
