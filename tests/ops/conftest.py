# SPDX-License-Identifier: Apache-2.0
"""Every op runs on one hart and on four."""

from __future__ import annotations

import pytest

from tests.support.native import Native


@pytest.fixture(params=["native", "native4"])
def device(request: pytest.FixtureRequest) -> Native:
    found: Native = request.getfixturevalue(request.param)
    return found
