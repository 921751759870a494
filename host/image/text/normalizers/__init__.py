# SPDX-License-Identifier: Apache-2.0
"""One file a kind of normalizer: TYPES, and ``add``, which puts its steps into the builder or raises Unsupported."""
