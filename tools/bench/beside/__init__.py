# SPDX-License-Identifier: Apache-2.0
"""Native beside llama.cpp on this machine, in turns, with the speed of memory: what targets/native.py prints."""
