# SPDX-License-Identifier: Apache-2.0
"""Texts through an encoder: vectors, and labels with probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from host.errors import UsageError
from host.schema.image import OutputKind
from host.talk.opening import LoadedModel
from host.tokens.tokenizer import codec_of

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """What the model makes of one text. results: f32 [1][width], or a row a token; tokens: what they are of."""

    tokens: tuple[str, ...]
    special: tuple[bool, ...]
    """Of each token, whether it was put around the text."""
    results: Array
    cut: int
    """Tokens of the text that were left out because the model reads no more."""


@dataclass(frozen=True)
class Label:
    """A label and its probability."""

    name: str
    probability: float


class Encoder:
    """An encoder on a target. ``kind``: what is wanted of it; UsageError for a model that does not make that."""

    def __init__(self, model: LoadedModel, kind: OutputKind) -> None:
        self._client, self._plan, self._manifest = model.client, model.image.plan, model.image.manifest
        if self._plan["output_kind"] != kind:
            made = self._plan["output_kind"].name.lower()
            other = {"logits": "host run or host chat", "vectors": "host embed", "labels": "host classify"}[made]
            raise UsageError(f"{model.image.path.name} makes {made}, not {kind.name.lower()}: use {other}")
        self._codec = codec_of(model.tokenizer)

    @property
    def labels(self) -> list[str]:
        """Names of the results' places, as the image says them."""
        width = self._plan["output_width"]
        found = self._manifest.get("labels")
        if not isinstance(found, list) or len(found) != width:
            return [f"LABEL_{i}" for i in range(width)]
        return [str(name) for name in found]

    @property
    def prompts(self) -> dict[str, str]:
        """What may be put before a text, by name."""
        found = self._manifest.get("prompts")
        return {str(name): str(text) for name, text in found.items()} if isinstance(found, dict) else {}

    def prompt(self, name: str | None) -> str:
        """The text of a prompt; that of the model's default for None. UsageError lists those that there are."""
        if name is None:
            name = self._manifest.get("default_prompt")
            return self.prompts.get(str(name), "")
        if name not in self.prompts:
            listed = ", ".join(self.prompts) or "none"
            raise UsageError(f"the model has no prompt {name!r}; it has {listed}")
        return self.prompts[name]

    def encode(self, text: str, cut: bool = False) -> Encoded:
        """Read a text. UsageError for one that is longer than the model reads, unless it may be cut."""
        ids, special = self._codec.encode_whole(text)
        most, beyond = self._plan["context"], 0
        if len(ids) > most:
            if not cut:
                raise UsageError(
                    f"the text has {len(ids)} tokens, the model reads {most} at once; give less of it, or add --cut"
                )
            tail = next(i for i in range(len(ids) + 1) if i == len(ids) or not special[len(ids) - 1 - i])
            beyond = len(ids) - most
            kept = [*range(most - tail), *range(len(ids) - tail, len(ids))]
            ids, special = [ids[i] for i in kept], [special[i] for i in kept]
        results = 1 if self._plan["max_logit_rows"] == 1 else len(ids)
        found = list(self._client.encode(ids, results, self._plan["output_width"]))
        tokens = [token or "" for token in self._codec.tokens(ids)]
        return Encoded(tuple(tokens), tuple(special), np.stack(found), beyond)

    def probabilities(self, results: Array) -> Array:
        """Of each label: those of a row add up to 1, or each is by itself where the model says so, f32 as results."""
        x = results.astype(np.float64)
        if self._manifest.get("problem_type") == "multi_label_classification" or x.shape[-1] == 1:
            return np.asarray(1 / (1 + np.exp(-x)), np.float32)
        p = np.exp(x - x.max(axis=-1, keepdims=True))
        return np.asarray(p / p.sum(axis=-1, keepdims=True), np.float32)


def cosines(vectors: Array) -> Array:
    """Cosine of each pair of vectors [n][width]: f32 [n][n]; of a vector of zeros 0."""
    x = vectors.astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    x = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
    return np.asarray(x @ x.T, np.float32)
