# SPDX-License-Identifier: Apache-2.0
"""f32: weights as they are."""

from __future__ import annotations

from host.schema.image import Format
from host.schema.weights import FloatFormat

F32 = FloatFormat(
    name="f32",
    id=Format.F32,
    bits=32,
    error=0.0,
    dtype="<f4",
    store=lambda x: x.astype("<f4"),
    load=lambda stored: stored.astype("=f4"),
)
