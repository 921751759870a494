# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the link on its own clock: what a token costs on the line, and when it comes."""

from __future__ import annotations

import pytest

from tools.bench import link

FRAME_BYTES = 2 + 1 + 14 + 12 + 12 + 4
"""Delimiters, stuffing, header, TOKENS of one record, CRC."""
ACK_BYTES = 2 + 1 + 14 + 4


def test_a_token_costs_a_frame_and_its_acknowledgement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(link, "CASES", (link.CASES[0], link.CASES[-1]))
    assert link.main(["--tokens", "24"]) == 0
    _, _, alone, turns, *_, latency, _ = capsys.readouterr().out.splitlines()
    cells = [cell.strip() for cell in alone.split("|")]
    assert float(cells[2]) == pytest.approx(20, rel=0.05)
    assert FRAME_BYTES <= float(cells[3]) < FRAME_BYTES + 6
    assert ACK_BYTES <= float(cells[4]) < ACK_BYTES + 10
    assert float(turns.split("|")[3]) > 2 * FRAME_BYTES
    assert latency.startswith("added latency of a token: 0.")
