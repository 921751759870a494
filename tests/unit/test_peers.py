# SPDX-License-Identifier: Apache-2.0
"""tools/bench/peers.py: its arithmetic, the files it makes for llama.cpp, and that its plugin compiles."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter, quants

from tools.bench.llama import HERE, requantize
from tools.bench.peers import Cost, cost, kept
from tools.scons.toolchain import zig_path


def test_a_token_costs_the_difference_of_runs() -> None:
    counts = {(1, 0): 1_000_000_000, (1, 4): 1_060_000_000, (16, 0): 1_150_000_000}
    found = cost(lambda prompt, decode: counts[prompt, decode], 16, 4)
    assert (found.decode, found.prefill) == (15.0, 10.0)


def test_what_was_measured_is_kept(tmp_path: Path) -> None:
    measured = [Cost(2.0, 1.0), Cost(4.0, 3.0)]
    found = [kept(tmp_path / "costs.json", key, measured.pop) for key in ("a", "b", "a")]
    assert found == [Cost(4.0, 3.0), Cost(2.0, 1.0), Cost(4.0, 3.0)]


def test_requantized_file(tmp_path: Path) -> None:
    """Types, metadata and values of what llama.cpp is given; an F32 source, so Q8_0 is within half a step."""
    rng = np.random.default_rng(5)
    values = {"token_embd.weight": (64, 32), "blk.0.ffn_up.weight": (32, 64), "blk.0.ffn_norm.weight": (64,)}
    writer = GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_block_count(1)
    writer.add_token_list(["a", "b"])
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in values.items()}
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    made = GGUFReader(requantize(tmp_path / "a.gguf", "Q4_0", tmp_path / "b.gguf"))
    types = {tensor.name: tensor.tensor_type.name for tensor in made.tensors}
    assert types == dict(zip(values, ["Q8_0", "Q4_0", "F32"], strict=True))
    assert made.fields["llama.block_count"].contents() == 1
    assert made.fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]
    for tensor in made.tensors:
        step = {"Q8_0": 1 / 127, "Q4_0": 1 / 8, "F32": 0.0}[tensor.tensor_type.name]
        error = np.abs(quants.dequantize(tensor.data, tensor.tensor_type) - arrays[tensor.name])
        assert error.max() <= step * np.abs(arrays[tensor.name]).max()


@pytest.mark.parametrize("version", [1, 2])
def test_plugin_compiles(tmp_path: Path, version: int) -> None:
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", f"-DPLUGIN_VERSION={version}"]
    out = tmp_path / "count.so"
    subprocess.run([zig_path(), "cc", *flags, str(HERE / "count_insns.c"), "-o", str(out)], check=True)
    assert out.stat().st_size
