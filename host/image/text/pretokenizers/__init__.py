# SPDX-License-Identifier: Apache-2.0
"""One file a kind of pre-tokenizer: TYPES, and ``add``, which puts its steps into the builder or raises Unsupported."""
