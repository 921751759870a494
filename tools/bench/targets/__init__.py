# SPDX-License-Identifier: Apache-2.0
"""What this project wants to be measured by, beside what it measures: a part a file."""
