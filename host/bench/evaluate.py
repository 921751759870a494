# SPDX-License-Identifier: Apache-2.0
"""How good a packed model is: perplexity over the link, and how far it is from a reference image.

Perplexity is exp of the mean negative log-probability of each next token, over windows that start with an empty
session. The distance is the mean Kullback-Leibler divergence KL(reference || model) in nats and the share of positions
whose likeliest token is the same. Logits of both devices are read in step, one position at a time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from host.errors import DeviceFaulty, DeviceRestarted, TargetError, UsageError
from host.files.source import Tokenizer
from host.link.client import Client
from host.link.limits import MOST_RESTARTS
from host.link.records import ScoreRow
from host.tokens.chat_template import encode_prompt

Progress = Callable[[int, int], None]
"""Called with (positions evaluated, of so many)."""


@dataclass(frozen=True)
class Quality:
    """Results. kl_mean, kl_max (nats) and top1 (share) are None without a reference."""

    tokens: int
    windows: int
    nll: float
    perplexity: float
    reference_perplexity: float | None
    kl_mean: float | None
    kl_max: float | None
    top1: float | None


@dataclass
class _Sums:
    tokens: int = 0
    nll: float = 0.0
    reference_nll: float = 0.0
    kl: float = 0.0
    kl_max: float = 0.0
    same: int = 0
    compared: int = 0


def text_windows(tokenizer: Tokenizer, text: str, tokens: int, window: int) -> list[list[int]]:
    """The text's first ``tokens`` tokens in windows, each of which starts with bos where the model wants it."""
    plain = encode_prompt(replace(tokenizer, bos=None, prefix=()), text)[:tokens]
    bos = list(tokenizer.start)
    room = window - len(bos)
    windows = [bos + plain[at : at + room] for at in range(0, len(plain), room)]
    return [each for each in windows if len(each) > 1]


def evaluate(
    client: Client, windows: Sequence[Sequence[int]], reference: Client | None = None, progress: Progress | None = None
) -> Quality:
    """Score windows of token ids on a device, and on a reference device with the same vocabulary.

    A client that restores goes on after a restart of its device. Raises UsageError where a window does not fit the
    context or nothing is left to score.
    """
    total = sum(map(len, windows))
    if not total:
        raise UsageError("the text has not even two tokens; give a longer one")
    for each in (client, reference) if reference else (client,):
        if max(map(len, windows)) > each.info.context:
            raise UsageError(f"a window of {max(map(len, windows))} tokens exceeds the context of {each.info.context}")
    if reference and reference.info.vocab != client.info.vocab:
        raise UsageError(
            f"the vocabularies differ ({client.info.vocab} and {reference.info.vocab} tokens); the reference must be "
            "the same model, packed in another way"
        )
    sums, seen = _Sums(), 0
    for window in windows:
        for row, other in _pairs(client, reference, window):
            _add(sums, row, other)
            seen += 1
            if progress:
                progress(seen, total)
    return _quality(sums, len(windows), reference is not None)


def _pairs(
    client: Client, reference: Client | None, window: Sequence[int]
) -> Iterator[tuple[ScoreRow, ScoreRow | None]]:
    rows = _rows(client, window, logits=reference is not None)
    if reference:
        yield from zip(rows, _rows(reference, window, logits=True), strict=True)
    else:
        yield from ((row, None) for row in rows)


def _rows(client: Client, window: Sequence[int], logits: bool) -> Iterator[ScoreRow]:
    """The rows of a window; of a device that restarts and is restored those that are missing, which are the same.

    DeviceFaulty where it restarts ``MOST_RESTARTS`` times without another row.
    """
    given = restarts = 0
    while given < len(window):
        try:
            client.truncate(0)
            client.prompt(window)
            run = client.score(logits=logits)
            for row in itertools.islice(run, given, None):
                if row.target != (window[given + 1] if given + 1 < len(window) else None):
                    raise client.line.faulty(
                        f"scored token {row.target} at position {row.position}, which was not asked for"
                    )
                given, restarts = given + 1, 0
                yield row
            if run.finish().evaluated != len(window) or given != len(window):
                raise TargetError("the device did not evaluate the whole window; see its log")
        except DeviceRestarted as error:
            restarts += 1
            if not client.recovery.wanted:
                raise
            if restarts > MOST_RESTARTS:
                raise DeviceFaulty(f"it has restarted {restarts} times without another score: {error}") from error
            client.recovery.recover()


def _add(sums: _Sums, row: ScoreRow, other: ScoreRow | None) -> None:
    if row.target is not None:
        sums.tokens += 1
        sums.nll -= row.logprob
        sums.reference_nll -= other.logprob if other else 0.0
    if other is not None:
        assert row.logits is not None
        assert other.logits is not None
        divergence = kl_divergence(other.logits, row.logits)
        sums.kl += divergence
        sums.kl_max = divergence if math.isnan(divergence) else max(sums.kl_max, divergence)
        sums.same += row.argmax == other.argmax
        sums.compared += 1


def _quality(sums: _Sums, windows: int, compared: bool) -> Quality:
    count = sums.compared or 1
    return Quality(
        tokens=sums.tokens,
        windows=windows,
        nll=sums.nll / sums.tokens,
        perplexity=_perplexity(sums.nll / sums.tokens),
        reference_perplexity=_perplexity(sums.reference_nll / sums.tokens) if compared else None,
        kl_mean=sums.kl / count if compared else None,
        kl_max=sums.kl_max if compared else None,
        top1=sums.same / count if compared else None,
    )


def _perplexity(nll: float) -> float:
    """Exp of a mean negative log-probability; infinite where that is more than a float holds."""
    try:
        return math.exp(nll)
    except OverflowError:
        return math.inf


def log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Natural log-probabilities of a row of logits, f64 of the same shape; NaN where a logit is no number."""
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = logits.astype(np.float64) - float(logits.max())
        result: npt.NDArray[np.float64] = shifted - float(np.log(np.exp(shifted).sum()))
    return result


def kl_divergence(reference: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]) -> float:
    """KL(reference || other) of two rows of logits, nats; never below 0, NaN where a logit is no number."""
    p, q = log_softmax(reference), log_softmax(logits)
    with np.errstate(invalid="ignore"):
        distance = float((np.exp(p) * (p - q)).sum())
    return distance if math.isnan(distance) else max(0.0, distance)
