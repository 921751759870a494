# SPDX-License-Identifier: Apache-2.0
"""``python -m host.faults --target native --image model.hsp``: a target behind a serial device of its own making.

Any command takes the device that is printed first. The line has the timing of ``--baud`` and, with ``--seed``, faults.
SIGUSR1 resets the target, as ``--reset-command`` of pytest can do by kill(1). Ctrl-C or SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from host.errors import HostError
from host.faults.pty_line import PtyLine
from host.faults.stream import GAP_BYTES, BrokenStream
from host.targets import open_target


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m host.faults", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--target", default="native")
    parser.add_argument("--image", type=Path, help="what a simulator boots with")
    parser.add_argument("--baud", type=float, default=115200, help="timing of the line; 0: none (%(default)g)")
    parser.add_argument("--seed", type=int, help="of the faults; without it there are none")
    parser.add_argument(
        "--gap", type=float, default=GAP_BYTES, help="bytes from fault to fault on average (%(default)g)"
    )
    options = parser.parse_args(arguments)
    if options.gap < 1 or options.baud < 0:
        parser.error("--gap is at least 1, --baud not below 0")
    return options


def serve(options: argparse.Namespace) -> None:
    """Print the device's path and pass bytes on until a signal ends it. Raises TargetError, FitError."""
    ended: list[int] = []
    resets: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        ended.append(number)

    def reset(number: int, _frame: FrameType | None) -> None:
        resets.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    signal.signal(signal.SIGUSR1, reset)
    target = open_target(options.target, options.image)
    stream = BrokenStream(target, options.seed, options.gap, options.baud)
    line = PtyLine(stream)
    try:
        print(line.path, flush=True)
        while not ended:
            line.run(lambda: bool(ended or resets))
            if resets:
                resets.clear()
                target.reset()
    finally:
        line.close()
    print(", ".join(f"{kind.value} {count}" for kind, count in stream.counts.items()) or "no faults", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Run; errors become a message and their exit code."""
    try:
        serve(parse(arguments))
    except HostError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
