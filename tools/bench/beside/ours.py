# SPDX-License-Identifier: Apache-2.0
"""Our side: the native firmware as a process, over its link, as `host run` has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from host.bench.measure import bench_tokens
from host.boards import load_board
from host.errors import TargetError
from host.link.client import Client
from host.talk.opening import OpenOptions, open_client
from host.targets import open_target, parse_spec
from host.targets.opening import build_firmware
from host.targets.process import ProcessTarget
from tools.bench.beside.costs import Spent
from tools.bench.beside.processors import processor_seconds


@dataclass
class Ours:
    """An open firmware."""

    client: Client
    pid: int

    @property
    def kernels(self) -> str:
        """Its kernel family."""
        return self.client.info.kernels

    def run(self, prompt: int, generate: int) -> Spent:
        """See Side; times by the device's clock, processor time with the link's."""
        self.client.truncate(0)
        before = processor_seconds(self.pid)
        self.client.prompt(bench_tokens(prompt, self.client.info.vocab))
        done = self.client.generate(generate).finish()
        if done.generated != generate:
            raise TargetError(f"the firmware wrote {done.generated} of {generate} tokens ({done.reason.name.lower()})")
        return Spent(processor_seconds(self.pid) - before, done.first_us / 1e6, done.total_us / 1e6)


@contextmanager
def open_ours(image: Path, harts: int) -> Iterator[Ours]:
    """The firmware, built where it is not of today, with an image. Raises HostError."""
    spec = parse_spec(f"native:harts={harts}")
    build_firmware(load_board(spec.board), spec, None)
    target = open_target(spec, image)
    assert isinstance(target, ProcessTarget)
    with open_client(target, OpenOptions()) as client:
        client.require_model()
        yield Ours(client, target.pid)
