# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: their list, their options, what shells complete, what is printed of an answer."""
