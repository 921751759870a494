# SPDX-License-Identifier: Apache-2.0
"""bf16: the upper half of an f32."""

from __future__ import annotations

import numpy as np

from host.schema.bf16 import from_bf16, to_bf16
from host.schema.weights import FloatFormat

BF16 = FloatFormat(
    name="bf16",
    id=2,
    bits=16,
    error=2.0**-9,
    dtype="<u2",
    store=lambda x: to_bf16(x).astype("<u2"),
    load=lambda stored: from_bf16(stored.astype(np.uint16)),
    largest=3.3895314e38,
)
