# SPDX-License-Identifier: Apache-2.0
"""What is written to a board's medium: boot files for U-Boot, and a disk with two slots for models."""
