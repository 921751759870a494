# SPDX-License-Identifier: Apache-2.0
"""One row a family (tests/support/family_rows.py): what the tests of all families read."""
