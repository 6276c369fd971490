"""What is compared: versions through the path that serves them, and baselines."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from app.tasks.contract import Task
from app.tasks.evaluation.contract import EvaluationSet, LikelihoodSet, Predict, ScoredWindow
from app.typedefs import Json
from workers.batch.predict import InstancePredictor, InstanceResult
from workers.evaluation.likelihood import nats_of
from workers.inference.engines import Engine

SCORED_EXAMPLES = 64  # whose windows are scored together


class Predicts(Protocol):
    """Something that predicts examples."""

    def predict(self, examples: range, on: Callable[[int], None]) -> list[InstanceResult]:
        """An answer for each of the examples, in order; `on` counts them. Raises `Stopped`."""
        ...


@dataclass(frozen=True)
class VersionPredictor:
    """A version, which gets each example as a request."""

    task: Task
    state: Json
    parameters: Any
    engine: Engine
    evaluated: EvaluationSet
    should_stop: Callable[[], bool]

    def predict(self, examples: range, on: Callable[[int], None]) -> list[InstanceResult]:
        """See `Predicts`."""
        if isinstance(self.evaluated, LikelihoodSet):
            return self._score(self.evaluated, examples, on)
        predictor = InstancePredictor(self.task, self.state, self.parameters, self.engine, self.should_stop)
        # Opened anew for each part: the pages read for the last one leave the memory.
        instances = self.evaluated.instances(self.state)
        return [answer for _, answer in predictor.predict(instances, examples, on)]

    def _score(
        self, evaluated: LikelihoodSet, examples: range, on: Callable[[int], None]
    ) -> list[InstanceResult]:
        """Likelihoods instead of predictions."""
        if self.engine.decoder is None:
            raise ValueError("this network gives no likelihoods")
        answers = []
        for start in range(examples.start, examples.stop, SCORED_EXAMPLES):
            part = range(start, min(start + SCORED_EXAMPLES, examples.stop))
            windows: list[ScoredWindow] = []
            counts = []
            for example in part:
                scored = evaluated.scored(self.state, example)
                windows += scored
                counts.append(len(scored))
            nats = nats_of(self.engine.decoder.model, windows, self.should_stop)
            for example, count in zip(part, counts, strict=True):
                own, nats = nats[:count], nats[count:]
                answers.append(InstanceResult(None, evaluated.likelihood(self.state, example, own)))
            on(len(part))
        return answers


@dataclass(frozen=True)
class BaselinePredictor:
    """A baseline that has learned."""

    predictions: Predict

    def predict(self, examples: range, on: Callable[[int], None]) -> list[InstanceResult]:
        """See `Predicts`."""
        answers = [InstanceResult(None, prediction) for prediction in self.predictions(examples)]
        on(len(answers))
        return answers
