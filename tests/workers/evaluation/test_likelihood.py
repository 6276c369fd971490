"""Likelihoods through a step model: the same for a window alone, and among others of all lengths."""

from typing import Any

import numpy as np
import pytest

from app.arrays import Array, Ints
from app.tasks.evaluation.contract import ScoredWindow
from workers.batch.predict import Stopped
from workers.decoding.onnx_model import StepOutput
from workers.evaluation import likelihood
from workers.evaluation.likelihood import nats_of

VOCABULARY = 7


class Summing:
    """A step model whose logits depend on the sum of the tokens that it has read."""

    chunked_prefill = True

    def initial_state(self, batch: int) -> Array:
        return np.zeros(batch)

    def prefill(self, inputs: Ints, lengths: Ints, state: Array) -> tuple[Array | None, Any]:
        real = np.arange(inputs.shape[1]) < lengths[:, None]
        state = state + np.where(real, inputs[:, :, 0], 0).sum(axis=1)
        return self._logits(state), state

    def step(self, tokens: Ints, state: Array) -> StepOutput:
        state = state + tokens
        return StepOutput(self._logits(state), state)

    def _logits(self, state: Array) -> Array:
        return np.sin(state[:, None] + np.arange(VOCABULARY)).astype(np.float32)


def by_hand(window: ScoredWindow) -> Array:
    nats = []
    for step in range(window.skipped, len(window.tokens) - 1):
        logits = np.sin(window.tokens[: step + 1].sum() + np.arange(VOCABULARY)).astype(np.float32)
        likely = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum()
        nats.append(-np.log(likely[window.tokens[step + 1]]))
    return np.array(nats)


def windows() -> list[ScoredWindow]:
    rng = np.random.default_rng(0)
    shapes = [(0, 5), (0, 2), (3, 9), (7, 12), (1, 3), (0, 40), (10, 11)]
    return [ScoredWindow(rng.integers(1, VOCABULARY, count), skipped) for skipped, count in shapes]


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_each_target_costs_its_negative_log_likelihood(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "MAX_ROWS", rows)
    monkeypatch.setattr(likelihood, "MAX_STEP_FLOATS", 10)
    made = nats_of(Summing(), windows(), lambda: False)
    for window, nats in zip(windows(), made, strict=True):
        assert nats == pytest.approx(by_hand(window), rel=1e-5)


def test_scoring_stops_when_it_is_asked_to() -> None:
    with pytest.raises(Stopped):
        nats_of(Summing(), windows(), lambda: True)
