# SPDX-License-Identifier: Apache-2.0
"""Names of activation functions in config.json and what they mean: one list for all families.

As transformers' ACT2FN has them. Those that it computes differently from their formula in the last bit only
(gelu_python, gelu_fast) are the formula here.
"""

from __future__ import annotations

from host.schema.image import Activation

ACTIVATIONS = {
    "silu": Activation.SILU,
    "swish": Activation.SILU,
    "gelu": Activation.GELU_ERF,
    "gelu_python": Activation.GELU_ERF,
    "gelu_new": Activation.GELU_TANH,
    "gelu_fast": Activation.GELU_TANH,
    "gelu_accurate": Activation.GELU_TANH,
    "gelu_pytorch_tanh": Activation.GELU_TANH,
    "gelu_python_tanh": Activation.GELU_TANH,
    "relu": Activation.RELU,
    "tanh": Activation.TANH,
}
