# SPDX-License-Identifier: Apache-2.0
"""Commands of a test bench that reset a board or switch its power: a relay, a USB hub, a power socket."""

from __future__ import annotations

import shlex
import subprocess
import time
from dataclasses import dataclass

from host.errors import TargetError

COMMAND_SECONDS = 60
OFF_SECONDS = 1.0
"""Without power: the time in which a board's capacitors empty."""


@dataclass(frozen=True)
class Hooks:
    """Shell commands; empty where there is none. ``{target}`` in them is the target, ``{state}`` is on or off."""

    target: str = ""
    reset_command: str = ""
    power_command: str = ""

    def reset(self, description: str) -> None:
        """Reset the board, by its power where there is no other way. TargetError where neither is there or it fails."""
        if self.reset_command:
            self._run(self.reset_command, "")
        elif self.power_command:
            self.power("off")
            time.sleep(OFF_SECONDS)
            self.power("on")
        else:
            raise TargetError(
                f"{description} cannot be reset from here: press its button, or give a command that does it "
                "(pytest --reset-command or --power-command)"
            )

    def power(self, state: str) -> None:
        """Switch the power ``on`` or ``off``. TargetError where that fails."""
        self._run(self.power_command, state)

    def _run(self, command: str, state: str) -> None:
        words = command.replace("{target}", shlex.quote(self.target)).replace("{state}", state)
        try:
            done = subprocess.run(words, shell=True, capture_output=True, text=True, timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            raise TargetError(f"`{words}` did not end within {COMMAND_SECONDS} s") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip() or "it said nothing"
            raise TargetError(f"`{words}` ended with {done.returncode}: {said}")
