"""What jobs would have made, had nothing happened to them."""

from dataclasses import dataclass
from typing import Any

from app.typedefs import Json
from tests.faults.jobs.harness import STEADY, Stack


@dataclass(frozen=True)
class Twin:
    """An undisturbed training."""

    weights: str
    curve: list[Json]
    metrics: Json


class Twins:
    """Undisturbed trainings, each done once on a service of its own."""

    def __init__(self, made: Stack) -> None:
        self._stack = made
        self._known: dict[tuple[Any, ...], Twin] = {}

    def of(self, epochs: int = STEADY, **training: Any) -> Twin:
        """The twin of `stack.submit(epochs, **training)`."""
        key = (epochs, *sorted(training.items()))
        if key not in self._known:
            job_id = self._stack.submit(epochs, **training)
            self._stack.wait(job_id)
            self._known[key] = told(self._stack, job_id)
        return self._known[key]

    def check(self, stack: Stack, job_id: str, epochs: int = STEADY, **training: Any) -> None:
        """The job made what its twin did: weights, metrics and every point of the curve."""
        twin, found = self.of(epochs, **training), told(stack, job_id)
        places = [[(epoch["phase"], epoch["epoch"]) for epoch in one.curve] for one in (found, twin)]
        assert places[0] == places[1], "the curve is not the twin's: other epochs"
        assert found.curve == twin.curve, "the curve is not the twin's"
        assert found.metrics == twin.metrics, "the metrics are not the twin's"
        assert found.weights == twin.weights, "the weights are not the twin's"


def told(stack: Stack, job_id: str) -> Twin:
    return Twin(stack.weights(job_id), stack.curve(job_id), stack.job(job_id).metrics or {})
