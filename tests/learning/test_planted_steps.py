"""Explanations find the steps that decide: of 100 planted tasks at lags of 20, 100 and 400 at least 95."""

from collections import Counter

import numpy as np
import pytest
import torch

from app.prediction.explanation_request import GRADIENT, INTEGRATED_GRADIENTS
from tests.support.factories.planted import LESSONS, learn, plant
from workers.explanation.influence import influence
from workers.nn.model import SequenceModel

LAGS = (20, 100, 400)


def finds(model: SequenceModel, task: str, lag: int, rng: np.random.Generator, method: str) -> bool:
    """Whether the steps with most influence on a right answer are those that were planted."""
    while True:
        planted = plant(task, rng, lag)
        inputs = planted.inputs.double()  # (1, time, features)
        with torch.no_grad():
            output = model.predict(inputs, torch.tensor([inputs.shape[1]]))[0].numpy()
        if output.argmax() == int(planted.labels[0]):
            break
    shares = np.array(influence(model, inputs, output, method))
    return set(np.argsort(-shares)[: len(planted.steps)].tolist()) == planted.steps


@pytest.mark.parametrize("cell", ["lstm", pytest.param("gru", marks=pytest.mark.slow)])
def test_a_latch_is_explained_by_what_it_holds(cell: str) -> None:
    model, rng = learn("latch", cell, 3).double(), np.random.default_rng(1)
    found = [finds(model, "latch", lag, rng, GRADIENT) for lag in LAGS for _ in range(4)]
    assert np.mean(found) >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("method", "tasks", "share"), [(GRADIENT, 100, 0.95), (INTEGRATED_GRADIENTS, 30, 0.8)]
)
def test_planted_steps_are_found(cell: str, method: str, tasks: int, share: float) -> None:
    rng, found = np.random.default_rng(5), Counter[tuple[str, int]]()
    models = {task: learn(task, cell, 3).double() for task in LESSONS}
    cases = [(task, lag) for task in LESSONS for lag in LAGS]
    for number in range(tasks):
        task, lag = cases[number % len(cases)]
        found[task, lag] += finds(models[task], task, lag, rng, method)
    assert found.total() >= share * tasks, found
