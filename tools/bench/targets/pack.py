# SPDX-License-Identifier: Apache-2.0
"""Packing a model of TinyLlama's shapes, 1.1 B weights, from bf16 safetensors: the whole command in a process.

It needs 3.5 GB of disk for as long as it runs.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from host.errors import TargetError
from host.quant.encode import processors
from host.schema.bf16 import to_bf16
from tools.bench.targets.row import Bench, Row

WIDTH, INNER, KV, VOCAB, LAYERS = 2048, 5632, 256, 32000, 22
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": VOCAB,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
PATTERN = 1 << 22
"""Different random weights, over and over: no row of a tensor is another's."""
LOOK = 0.05
"""Seconds from one look at a process's memory to the next."""
BILLION = 1e9


def rows(bench: Bench) -> Iterator[Row]:
    """What packing takes: processor time, memory beside the mapped source, and time on this machine's processors."""
    with tempfile.TemporaryDirectory(prefix="pack-", dir=bench.work) as folder:
        model, image = Path(folder, "model"), Path(folder, "packed.hsp")
        weights = write_model(model)
        for name, seconds in (("q4", 30), ("q8", 20)):
            words = ["pack", str(model), "--board", "native", "--weights", name, "-o", str(image), "--force"]
            cost = run([sys.executable, "-m", "host", *words])
            note = f"{cost.cpu / weights * BILLION:.1f} ns a weight, all of the command"
            yield Row(f"packing {weights / BILLION:.2f} B weights to {name}, CPU seconds", cost.cpu, seconds, note=note)
            yield Row(f"packing to {name}, MB beyond the mapped source", cost.anonymous / 1e6, 600)
            note = f"had {cost.cpu / cost.wall:.1f} of {processors()} processors"
            yield Row(f"packing to {name}, seconds a billion weights", cost.wall / weights * BILLION, 60, note=note)


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds, and bytes of its own at most."""

    cpu: float
    wall: float
    anonymous: int


def run(command: list[str]) -> Cost:
    """Runs a command to its end. Raises TargetError with what it said where it fails."""
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        anonymous, pid = 0, 0
        while not pid:
            anonymous = max(anonymous, anonymous_bytes(child.pid))
            time.sleep(LOOK)
            pid, status, used = os.wait4(child.pid, os.WNOHANG)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise TargetError(f"{' '.join(command[1:])} failed: {said.read()[-400:]}")
    return Cost(used.ru_utime + used.ru_stime, time.monotonic() - begun, anonymous)


def anonymous_bytes(pid: int) -> int:
    """Bytes in memory that are of no file; 0 where the process has ended and is not waited for yet."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:")), 0)


def write_model(folder: Path) -> int:
    """A folder with config, tokenizer and random weights. Returns how many weights there are."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    header, at = {}, 0
    for name, shape in shapes().items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    pattern = to_bf16(np.random.default_rng(1).standard_normal(PATTERN, np.float32) * np.float32(0.02)).tobytes()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for left in range(at, 0, -len(pattern)):
            file.write(pattern[:left])
    return at // 2


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor by its name, with its shape."""
    layer = {
        "input_layernorm": (WIDTH,),
        "post_attention_layernorm": (WIDTH,),
        "self_attn.q_proj": (WIDTH, WIDTH),
        "self_attn.k_proj": (KV, WIDTH),
        "self_attn.v_proj": (KV, WIDTH),
        "self_attn.o_proj": (WIDTH, WIDTH),
        "mlp.gate_proj": (INNER, WIDTH),
        "mlp.up_proj": (INNER, WIDTH),
        "mlp.down_proj": (WIDTH, INNER),
    }
    whole = {"model.embed_tokens": (VOCAB, WIDTH), "lm_head": (VOCAB, WIDTH), "model.norm": (WIDTH,)}
    every = {f"model.layers.{i}.{name}": shape for i in range(LAYERS) for name, shape in layer.items()}
    return {f"{name}.weight": shape for name, shape in (whole | every).items()}
