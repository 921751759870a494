# SPDX-License-Identifier: Apache-2.0
"""What can be read is read as it is; what cannot is refused in words."""

from __future__ import annotations

import json
import random
import struct
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, quants
from safetensors.numpy import save_file

from host.errors import SourceError
from host.families import decoder_of, families
from host.files.source import Source
from host.files.tensor import PLAIN, StoredTensor, block_size
from host.model import load_source
from tests.support.model_files import interleaved, stored_arrays, write_folder, write_gguf
from tests.support.tiny import tiny_gpt2, tiny_llama

SHAPES = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "num_hidden_layers": 1}


def in_f32(record: Any) -> Any:
    """A record as a dictionary, its numbers as a GGUF can hold them."""
    if isinstance(record, float):
        return float(np.float32(record))
    if isinstance(record, (list, tuple)):
        return [in_f32(each) for each in record]
    if isinstance(record, dict):
        return {key: in_f32(value) for key, value in record.items()}
    return in_f32(asdict(record)) if is_dataclass(record) else record


def same_tensors(found: Source, made: Source) -> None:
    assert set(found.tensors) == set(made.tensors)
    for name, tensor in made.tensors.items():
        assert found.tensors[name].shape == tensor.shape, name
        np.testing.assert_array_equal(found.tensors[name].float32(), tensor.float32(), err_msg=name)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_both_formats_give_the_same_model(make, tied, tmp_path: Path) -> None:
    made = make(tie_word_embeddings=tied)
    from_folder = load_source(write_folder(made, tmp_path / "hf"))
    from_shards = load_source(write_folder(made, tmp_path / "shards", shards=3))
    lone_file = load_source(tmp_path / "hf" / "model.safetensors")
    from_file = load_source(write_gguf(made, tmp_path / "m.gguf"))
    for found in (from_folder, from_shards, lone_file, from_file):
        same_tensors(found, made)
        assert in_f32(decoder_of(found)) == in_f32(decoder_of(made))
    assert from_file.provenance["format"] == "gguf"
    assert len(from_shards.provenance["files"]) == 3
    assert from_folder.provenance["sha256"] == lone_file.provenance["sha256"] != from_shards.provenance["sha256"]


def test_attention_biases_follow_their_rows(tmp_path: Path) -> None:
    made = tiny_llama(attention_bias=True, mlp_bias=True)
    same_tensors(load_source(write_gguf(made, tmp_path / "m.gguf")), made)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
def test_blocks_are_the_files_own_with_rows_in_order(kind: str, tmp_path: Path) -> None:
    made = tiny_llama(**SHAPES)
    found = load_source(write_gguf(made, tmp_path / "m.gguf", kind))
    name = "model.layers.0.self_attn.q_proj.weight"
    blocks = found.tensors[name].blocks()
    assert blocks is not None
    assert blocks.kind == kind
    dequantized = quants.dequantize(blocks.data, GGMLQuantizationType[kind])
    np.testing.assert_array_equal(dequantized, found.tensors[name].float32())
    stored = {tensor.name: tensor.data for tensor in GGUFReader(tmp_path / "m.gguf").tensors}["blk.0.attn_q.weight"]
    np.testing.assert_array_equal(interleaved(blocks.data, 4), stored)
    assert np.abs(dequantized - made.tensors[name].float32()).max() < 0.1
    assert found.tensors["model.norm.weight"].blocks() is None


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q5_0", "Q5_1"])
def test_other_element_types_are_dequantized(kind: str, tmp_path: Path) -> None:
    made = tiny_llama(**SHAPES)
    found = load_source(write_gguf(made, tmp_path / "m.gguf", kind))
    name = "model.layers.0.mlp.up_proj.weight"
    assert found.tensors[name].blocks() is None
    assert np.abs(found.tensors[name].float32() - made.tensors[name].float32()).max() < 0.05
    assert found.provenance["quantization"][kind] == 8


@pytest.mark.parametrize("kind", [kind.name for kind in quants._type_traits])
def test_every_quantization_that_the_library_dequantizes(kind: str) -> None:
    elements, size = block_size(kind)
    raw = np.random.default_rng(1).integers(0, 60, (3, 2 * size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        wanted = quants.dequantize(raw, GGMLQuantizationType[kind])
    found = StoredTensor("t", kind, (3, 2 * elements), raw.reshape(-1), order=np.array([2, 0, 1])).float32()
    np.testing.assert_array_equal(found, wanted[[2, 0, 1]])


def test_small_floats_of_safetensors() -> None:
    def decode(kind: str, *codes: int) -> list[float]:
        raw = np.array(codes, np.uint8)
        return StoredTensor("t", kind, (len(codes) // PLAIN[kind][0],), raw).float32().tolist()

    assert decode("BF16", 0x80, 0x3F, 0x00, 0xC0) == [1.0, -2.0]
    assert decode("F8_E4M3", 0x38, 0xB8, 0x01, 0x7E, 0x08) == [1.0, -1.0, 2**-9, 448.0, 2**-6]
    assert decode("F8_E5M2", 0x3C, 0xBC, 0x01, 0x7B) == [1.0, -1.0, 2**-16, 57344.0]
    with pytest.raises(SourceError, match="NaN"):
        decode("F8_E4M3", 0x7F)


def test_a_tied_model_may_carry_its_output_twice(tmp_path: Path) -> None:
    made = tiny_llama(tie_word_embeddings=True)
    arrays = stored_arrays(made)
    arrays["lm_head.weight"] = arrays["model.embed_tokens.weight"].copy()
    arrays["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(12, np.float32)
    same_tensors(load_source(write_folder(made, tmp_path, arrays=arrays)), made)


def test_identical_output_of_a_gguf_is_tied(tmp_path: Path) -> None:
    made = tiny_gpt2(tie_word_embeddings=True)
    made.tensors["lm_head.weight"] = made.tensors["wte.weight"]
    found = load_source(write_gguf(made, tmp_path / "m.gguf"))
    assert found.config["tie_word_embeddings"] is True
    assert "lm_head.weight" not in found.tensors


# ---- what is refused ----


def broken_folder(tmp_path: Path, change) -> str:
    """The message for a folder whose arrays ``change`` has altered."""
    made = tiny_llama(**SHAPES)
    arrays = stored_arrays(made)
    change(arrays)
    folder = write_folder(made, tmp_path, arrays=arrays)
    with pytest.raises(SourceError) as caught:
        read_everything(folder)
    return str(caught.value)


def test_nan_and_infinity_are_refused_by_name(tmp_path: Path) -> None:
    def change(arrays: dict) -> None:
        arrays["model.layers.0.mlp.up_proj.weight"][3, 4] = np.inf

    assert "model.layers.0.mlp.up_proj.weight holds 1 or more values" in broken_folder(tmp_path, change)


def test_nan_in_a_scale_is_refused_in_blocks(tmp_path: Path) -> None:
    path = write_gguf(tiny_llama(**SHAPES), tmp_path / "m.gguf", "Q4_1")
    tensor = load_source(path).tensors["model.layers.0.mlp.up_proj.weight"]
    raw = tensor.raw.copy()
    raw[20:22] = (0, 0x7E)
    damaged = StoredTensor(tensor.name, tensor.kind, tensor.stored, raw)
    for read in (damaged.blocks, damaged.float32):
        with pytest.raises(SourceError, match="up_proj"):
            read()


def test_unknown_missing_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    extra = broken_folder(tmp_path / "a", lambda a: a.update({"model.layers.0.block.router": np.ones(3, np.float32)}))
    assert "model.layers.0.block.router" in extra
    missing = broken_folder(tmp_path / "b", lambda a: a.pop("model.norm.weight"))
    assert "missing: model.norm.weight" in missing
    wrong = broken_folder(tmp_path / "c", lambda a: a.update({"model.norm.weight": np.ones(63, np.float32)}))
    assert "(63,), the config implies (64,)" in wrong
    integers = broken_folder(tmp_path / "d", lambda a: a.update({"model.norm.weight": np.ones(64, np.int64)}))
    assert "model.norm.weight (I64)" in integers


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "mamba2"}, f"'mamba2' is not supported; supported are {', '.join(families())}."),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": -4}, "hidden_size is '-4'"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_key_value_heads": 3}, "cannot share 3 KV heads"),
        ({"hidden_act": "mish"}, "'mish' is not supported"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ({"rope_scaling": {"rope_type": "longrope"}}, "'longrope' is not supported"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor is missing"),
        ({"quantization_config": {"quant_method": "awq"}}, "already quantized (awq)"),
        ({"vocab_size": 130}, "the config implies (130, 96)"),
    ],
)
def test_configs_that_are_refused(change: dict, words: str, tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path)
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SourceError) as caught:
        load_source(folder)
    assert words in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not exist"):
        load_source(tmp_path / "nothing")
    with pytest.raises(SourceError, match=r"neither model\.safetensors"):
        load_source(tmp_path)
    folder = write_folder(tiny_llama(), tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    assert load_source(folder, require_tokenizer=False).tokenizer is None
    with pytest.raises(SourceError, match="no tokenizer"):
        load_source(folder)
    (folder / "config.json").unlink()
    with pytest.raises(SourceError, match=r"no config\.json"):
        load_source(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    for lone in (folder / "model.safetensors", folder / "m.gguf"):
        lone.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        with pytest.raises(SourceError, match="git lfs pull"):
            load_source(lone)
        with pytest.raises(SourceError, match="git lfs pull"):
            load_source(folder)
        lone.unlink()
    with pytest.raises(SourceError, match="pickles"):
        load_source(folder)


def test_shards_that_are_missing_or_elsewhere(tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path, shards=2)
    index = folder / "model.safetensors.index.json"
    (folder / "model-00002-of-00002.safetensors").rename(folder / "x")
    with pytest.raises(SourceError, match="model-00002-of-00002"):
        load_source(index)
    index.write_text(json.dumps({"weight_map": {"a": "../../etc/x.safetensors"}}))
    with pytest.raises(SourceError, match="no safetensors"):
        load_source(folder)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(vocab_size=100), tmp_path)
    with pytest.raises(SourceError, match=r"31 ids .*vocabulary of 100"):
        load_source(folder)


def read_everything(path: Path) -> None:
    """Open a model and read each tensor; only SourceError may come of it."""
    source = load_source(path)
    for tensor in source.tensors.values():
        tensor.float32()
        tensor.blocks()


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
def test_damaged_files_give_source_errors_only(kind: str, tmp_path: Path) -> None:
    """Seeded damage: cut off anywhere, bytes changed, and lengths set to values that would take all memory."""
    made = tiny_llama(**SHAPES)
    path = write_gguf(made, tmp_path / "m.gguf", "Q4_0") if kind == "gguf" else write_folder(made, tmp_path)
    path = path if kind == "gguf" else path / "model.safetensors"
    whole = path.read_bytes()
    head = len(whole) - sum(t.raw.nbytes for t in load_source(path).tensors.values())
    rng, refused = random.Random(7), 0
    for round_number in range(240):
        data = bytearray(whole)
        if round_number % 3 == 0:
            del data[rng.randrange(len(data)) :]
        elif round_number % 3 == 1:
            data[rng.randrange(head)] = rng.randrange(256)
        else:
            struct.pack_into("<Q", data, rng.randrange(head - 8), rng.choice([2**63, 2**40, 2**31, 2**16]))
        path.write_bytes(data)
        try:
            read_everything(path)
        except SourceError:
            refused += 1
    assert refused > 120


def test_gguf_messages(tmp_path: Path) -> None:
    path = write_gguf(tiny_llama(**SHAPES), tmp_path / "m.gguf")
    whole = path.read_bytes()
    for data, words in [
        (b"PK\3\4" + whole[4:], "not with 'GGUF'"),
        (whole[:4] + struct.pack("<I", 9) + whole[8:], "GGUF version 9"),
        (whole[:8] + struct.pack("<Q", 2**40) + whole[16:], "1099511627776 tensors"),
        (whole[:-100], "truncated"),
        (b"", "cannot read"),
        (whole.replace(b"blk.0.attn_q.weight", b"blk.0.attn_k.weight"), "twice"),
        (whole.replace(b"general.architecture", b"general.architexture"), "architecture 'None'"),
    ]:
        path.write_bytes(data)
        with pytest.raises(SourceError) as caught:
            load_source(path)
        assert words in str(caught.value)


def test_save_file_is_what_users_have(tmp_path: Path) -> None:
    """A file that safetensors wrote in f16 is read in f32 with the same values."""
    made = tiny_gpt2()
    arrays = {name: values.astype(np.float16) for name, values in stored_arrays(made).items()}
    folder = write_folder(made, tmp_path)
    save_file(arrays, folder / "model.safetensors")
    found = load_source(folder)
    wanted = arrays["transformer.h.0.attn.c_attn.weight"].T.astype(np.float32)
    np.testing.assert_array_equal(found.tensors["h.0.attn.c_attn.weight"].float32(), wanted)
