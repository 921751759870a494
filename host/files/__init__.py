# SPDX-License-Identifier: Apache-2.0
"""What others wrote: safetensors, GGUF, recipes. Hostile until it is checked."""
