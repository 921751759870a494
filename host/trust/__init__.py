# SPDX-License-Identifier: Apache-2.0
"""Who made an image: Ed25519 keys (RFC 8032), signing and checking."""
