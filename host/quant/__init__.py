# SPDX-License-Identifier: Apache-2.0
"""Quantization and weight layouts, in numpy. The rules of the numbers stand in docs/numerics.md."""
