# SPDX-License-Identifier: Apache-2.0
"""The graph that families build, passes rewrite and lowering reads."""
