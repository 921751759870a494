# SPDX-License-Identifier: Apache-2.0
"""The compiler: a model's graph, the passes that rewrite it, and its lowering to a program with a memory plan."""
