# SPDX-License-Identifier: Apache-2.0
"""The ground: bytes in images and on the wire, declared once for host, firmware and documents."""
