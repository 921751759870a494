# SPDX-License-Identifier: Apache-2.0
"""A row of the table, and what several parts need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from host.bench.measure import bench_tokens
from host.link.transfer import SavedSession, save_session
from host.packing.resolve import resolve_image
from host.talk.opening import open_model
from tools.bench import peers
from tools.bench.llama import OURS, Variant, work_folder


@dataclass(frozen=True)
class Row:
    """One target: ``found`` should be at most (or at least) ``target``; None: only reported."""

    what: str
    found: float
    target: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached."""
        if self.target is None:
            return None
        return self.found >= self.target if self.at_least else self.found <= self.target


class Bench:
    """What several parts need: the model in several formats, QEMU's counter, our firmware."""

    @cached_property
    def work(self) -> Path:
        """Where programs and files that take long to make are kept."""
        folder = work_folder()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def qemu(self) -> str:
        """QEMU's user mode, which loads plugins. Raises TargetError where it is not installed."""
        return peers.qemu_user()

    @cached_property
    def source(self) -> Path:
        """SmolLM2's own GGUF file."""
        return peers.model_file(peers.MODEL)

    def counter(self) -> peers.Counter:
        """QEMU with the plugin."""
        return peers.Counter(self.qemu, peers.build_plugin(self.work, self.qemu))

    def image(self, variant: Variant, kind: str) -> Path:
        """Our image of the model."""
        return resolve_image(str(peers.quantized_file(self.source, kind, self.work)), variant.target)

    def count(self, variant: Variant, kind: str) -> Callable[[int, int], int]:
        """Counts our instructions in a run of so many prompt and decoded tokens."""
        program = peers.our_program(variant)
        return partial(peers.count_ours, self.counter(), program, variant.qemu, self.image(variant, kind))


def variant_of(name: str) -> Variant:
    """By its name."""
    return next(v for v in OURS if v.name == name)


def native_state(image: Path, depth: int) -> SavedSession:
    """A session of all but the last of ``depth`` tokens, computed here: states are the same on every target."""
    with open_model(str(image), "native") as model:
        model.client.prompt(bench_tokens(depth, model.client.info.vocab)[:-1])
        model.client.generate(0).finish()
        return save_session(model.client)
