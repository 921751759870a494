# SPDX-License-Identifier: Apache-2.0
"""One file a kind of model: TYPES, and ``tables``, which makes its tables or raises Unsupported."""
