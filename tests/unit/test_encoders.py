# SPDX-License-Identifier: Apache-2.0
"""Encoders as users meet them: host embed and host classify on the native target, folders of sentence-transformers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from host import cli
from host.compiler.compile import Options, compile_model
from host.errors import DeviceFailure, SourceError, UsageError
from host.families import decoder_of
from host.files.source import Source
from host.model import load_source
from host.ops.pool import PoolKind
from host.schema.formats.f32 import F32
from host.schema.image import Format, Overflow
from tests.support.family_rows import tiny_model
from tests.support.model_files import write_folder
from tests.support.native import Native
from tests.support.tiny import MemoryTensor, tiny_image

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "sky", "is", "blue", "a", "meal", "eat", "##ing", "##s"]
LABELS = {"0": "calm", "1": "loud", "2": "odd"}
TOKENS = {"architectures": ["BertForTokenClassification"], "id2label": LABELS}
TEXT = {"architectures": ["BertForSequenceClassification"], "id2label": LABELS}


def tokenizer() -> str:
    """As BERT's, with a handful of words."""
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.add_special_tokens(WORDS[:4])
    return str(made.to_str())


Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Writes a model folder; ``files`` are what stands beside it, JSON by name."""

    def make(config: dict[str, Any], files: dict[str, Any] | None = None, **changes: Any) -> Path:
        path = write_folder(tiny_model("bert", **config, **changes), tmp_path / "model")
        (path / "tokenizer.json").write_text(tokenizer())
        for name, value in (files or {}).items():
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_text(json.dumps(value))
        return path

    return make


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command; its exit code and what it prints."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["host", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out = capsys.readouterr()
        return int(ended.value.code or 0), out.out, out.err

    return run


Host = Callable[..., tuple[int, str, str]]
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
]
POOLING = {"word_embedding_dimension": 64, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
DENSE = {"in_features": 128, "out_features": 24, "bias": True, "activation_function": "torch.nn.Tanh"}
SENTENCE = {
    "modules.json": MODULES,
    "1_Pooling/config.json": POOLING,
    "2_Dense/config.json": DENSE,
    "sentence_bert_config.json": {"max_seq_length": 20, "do_lower_case": False},
    "config_sentence_transformers.json": {"prompts": {"query": "the sky "}, "default_prompt_name": None},
}


def sentence(make: Folder) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder of sentence-transformers with two modes of pooling and a Dense, whose weights are given, too."""
    path = make({}, SENTENCE)
    rng = np.random.default_rng(2)
    weight, bias = (rng.normal(size=shape).astype(np.float32) * 0.2 for shape in ((24, 128), (24,)))
    save_file({"linear.weight": weight, "linear.bias": bias}, path / "2_Dense" / "model.safetensors")
    return path, weight, bias


def test_vectors_are_made_as_the_folder_says(folder: Folder, host: Host, tmp_path: Path, native: Native) -> None:
    path, weight, bias = sentence(folder)
    out, image = tmp_path / "v.npy", tmp_path / "s.hsp"
    assert host("pack", path, "--board", "native", "--weights", "f32", "--kv", "f32", "-o", image)[0] == 0
    code, said, _ = host("embed", image, "--text", "the sky is blue", "--text", "a meal", "--npy", out)
    assert code == 0
    assert "1.000" in said
    assert "24 numbers a vector" in said
    found = np.load(out)
    assert found.shape == (2, 24)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    rows = hidden(native, tmp_path, [2, 4, 5, 6, 7, 3])
    pooled = np.concatenate([rows[0], rows.mean(axis=0)])
    wanted = np.tanh(weight @ pooled + bias)
    np.testing.assert_allclose(found[0], wanted / np.linalg.norm(wanted), atol=1e-5)
    code, said, _ = host("embed", image, "--text", "is blue", "--prompt", "query", "--json", "--quiet")
    assert code == 0
    np.testing.assert_allclose(json.loads(said)[0]["vector"], found[0], atol=1e-6)


def hidden(native: Native, tmp_path: Path, ids: list[int]) -> np.ndarray:
    """What the layers of the same model make of a text, a row a token: by a classifier that picks every element."""
    source = tiny_model("bert", architectures=["BertForTokenClassification"], id2label={str(i): "x" for i in range(64)})
    picks = {"classifier.weight": np.eye(64, dtype=np.float32), "classifier.bias": np.zeros(64, np.float32)}
    source.tensors = {**source.tensors, **{name: MemoryTensor(name, values) for name, values in picks.items()}}
    tiny_image(tmp_path / "h.hsp", source, Options(weights=F32, kv=Format.F32))
    native.load(tmp_path / "h.hsp")
    return native.step([(0, i, token, 1) for i, token in enumerate(ids)])


def test_a_folder_says_what_is_read_by_default(folder: Folder) -> None:
    path, _, _ = sentence(folder)
    decoder = decoder_of(load_source(path))
    assert decoder.usual_context == 20
    assert decoder.head is not None
    assert (decoder.head.pool, decoder.head.unit) == ((PoolKind.FIRST, PoolKind.MEAN), True)


def test_labels_of_tokens(folder: Folder, host: Host) -> None:
    path = folder(TOKENS)
    code, said, _ = host("classify", path, "--text", "the sky eating", "--json", "--quiet", "--top", 9)
    assert code == 0
    tokens = json.loads(said)[0]["tokens"]
    assert [each["token"] for each in tokens] == ["the", "sky", "eat", "##ing"]
    assert {label["label"] for label in tokens[0]["labels"]} == set(LABELS.values())
    assert sum(label["probability"] for label in tokens[0]["labels"]) == pytest.approx(1, abs=1e-5)
    code, said, _ = host("classify", path, "--text", "the sky", "--quiet", "--top", 1)
    assert code == 0
    assert len(said.splitlines()) == 3


def test_labels_of_a_text(folder: Folder, host: Host) -> None:
    code, said, _ = host("classify", folder(TEXT), "--text", "a meal", "--json", "--quiet")
    assert code == 0
    labels = json.loads(said)[0]["labels"]
    assert sorted(labels, key=lambda label: -label["probability"]) == labels
    assert {label["label"] for label in labels} == set(LABELS.values())


def test_many_labels_at_once_do_not_exclude_each_other(folder: Folder, host: Host) -> None:
    path = folder({**TEXT, "problem_type": "multi_label_classification"})
    said = host("classify", path, "--text", "a meal", "--json", "--quiet")[1]
    assert sum(label["probability"] for label in json.loads(said)[0]["labels"]) != pytest.approx(1, abs=1e-3)


def test_what_a_model_does_not_make_is_refused(folder: Folder, host: Host) -> None:
    path = folder(TEXT)
    code, _, error = host("embed", path, "--text", "a", "--quiet")
    assert code == 2
    assert "host classify" in error
    code, _, error = host("run", path, "--prompt", "a", "--raw", "--quiet")
    assert code == 7
    assert "host embed" in error
    assert host("embed", path, "--quiet")[0] == 2


def test_a_long_text_is_cut_or_refused(folder: Folder, host: Host) -> None:
    path, _, _ = sentence(folder)
    long = "the sky is blue " * 9
    code, _, error = host("embed", path, "--text", long, "--quiet")
    assert code == 2
    assert "38 tokens, the model reads 20" in error
    code, said, _ = host("embed", path, "--text", long, "--cut", "--quiet", "--json")
    assert code == 0
    assert json.loads(said)[0]["cut"] == 18


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("modules.json", {}, "no list"),
        ("modules.json", MODULES[:1], "no Pooling"),
        ("modules.json", [MODULES[0], {"path": "../x", "type": "a.Pooling"}], "no module"),
        ("modules.json", [MODULES[0], {"path": "..", "type": "a.Pooling"}], "harm"),
        ("modules.json", [*MODULES[:2], {"path": "2_LSTM", "type": "a.LSTM"}], "LSTM"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": False}, "no known mode"),
        ("1_Pooling/config.json", POOLING | {"include_prompt": False}, "include_prompt"),
        ("2_Dense/config.json", DENSE | {"activation_function": "torch.nn.Mish"}, "Mish"),
        ("2_Dense/config.json", DENSE | {"out_features": 25}, "linear"),
    ],
)
def test_damaged_folders_are_refused_by_name(folder: Folder, name: str, value: Any, words: str) -> None:
    path, _, _ = sentence(folder)
    (path / name).write_text(json.dumps(value))
    with pytest.raises(SourceError, match=words):
        load_source(path)


def test_a_step_is_one_whole_text(native: Native, tmp_path: Path) -> None:
    """A session that holds something is refused; texts beside each other are as they are alone."""
    tiny_image(tmp_path / "m.hsp", tiny_model("bert", **TOKENS), Options(context=64, sessions=2))
    native.load(tmp_path / "m.hsp")
    texts = ([2, 4, 5, 6, 3], [2, 9, 3])
    alone = []
    for text in texts:
        native.truncate(0)
        alone.append(native.step([(0, i, token, 1) for i, token in enumerate(text)]))
    with pytest.raises(DeviceFailure, match="POSITION"):
        native.step([(0, 3, 4, 1)])
    native.truncate(0)
    rows = [(session, i, token, 1) for session, text in enumerate(texts) for i, token in enumerate(text)]
    np.testing.assert_array_equal(native.step(rows), np.concatenate(alone))


def test_old_names_of_norms_are_read(tmp_path: Path) -> None:
    source = tiny_model("bert")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in source.tensors.items()}
    source.tensors = {name.replace("LayerNorm.bias", "LayerNorm.beta"): tensor for name, tensor in old.items()}
    found = load_source(write_folder(source, tmp_path / "old"), require_tokenizer=False)
    assert "bert.embeddings.LayerNorm.weight" in found.tensors


def test_other_heads_and_contexts_that_slide_are_refused() -> None:
    with pytest.raises(SourceError, match="BertForQuestionAnswering"):
        decoder_of(replaced(["BertForQuestionAnswering"]))
    with pytest.raises(UsageError, match="whole text"):
        compile_model(tiny_model("modernbert"), Options(overflow=Overflow.SLIDE))


def replaced(architectures: list[str]) -> Source:
    """A BERT of another class."""
    source = tiny_model("bert")
    source.config = {**source.config, "architectures": architectures}
    return source
