# SPDX-License-Identifier: Apache-2.0
"""Tokenizers, splits and chat templates, which run in a child process with limits."""
