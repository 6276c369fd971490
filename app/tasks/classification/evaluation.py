"""Evaluation of labels of texts or of sensor readings."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from app.arrays import Arrays, Ints
from app.errors import Problem
from app.tasks.classification import baseline
from app.tasks.classification.instances import ClassificationInstances
from app.tasks.classification.options import ClassificationParameters
from app.tasks.classification.reading import LABEL, LABELS, VALUES
from app.tasks.classification.sensor_encoding import standardize
from app.tasks.contract import Instances
from app.tasks.evaluation.contract import (
    EvaluationSettings,
    Predict,
    TrainedVersion,
    TrainingData,
)
from app.tasks.evaluation.examples import ExampleEvaluation
from app.tasks.evaluation.labels import HIGHER_IS_BETTER, LabelTally, label_errors
from app.tasks.evaluation.picked import (
    PickedInstances,
    PickedRows,
    check_scores,
    lacks,
    needed,
    without_windows,
)
from app.tasks.evaluation.rows import evaluated_rows, learned_rows
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT
from app.tasks.shared.text_checks import TEXT
from app.typedefs import Json

NAIVE_BAYES, NEAREST_NEIGHBOR = "naive_bayes", "nearest_neighbor"
BASELINE_BY_KIND = {TEXT: NAIVE_BAYES, VALUES: NEAREST_NEIGHBOR}


def _baseline_of(summary: Json) -> str:
    """The baseline of the data set's kind."""
    return BASELINE_BY_KIND[summary["kind"]]


def _check(
    summary: Json,
    states: Sequence[Json],
    parameters: ClassificationParameters,
    settings: EvaluationSettings,
) -> list[Problem]:
    """Refuse a data set without labels, and parameters that hide probabilities."""
    del states
    if not summary["classes"]:
        return lacks("its examples have no labels")
    suited = _baseline_of(summary)
    detail = f"data of kind {summary['kind']} have the baseline {suited}"
    others = [index for index, name in enumerate(settings.baselines) if name != suited]
    return [*check_scores(parameters), *(Problem(f"/baselines/{index}", detail) for index in others)]


class ClassificationSet:
    """Labelled examples, see `EvaluationSet`."""

    higher_is_better: Mapping[str, bool] = HIGHER_IS_BETTER
    unit = "example"
    training_arrays = staticmethod(without_windows)

    def __init__(self, arrays: Arrays, versions: Sequence[TrainedVersion]) -> None:
        self._arrays, self._codes = arrays, np.array(arrays[LABEL])
        self._picked = PickedRows(evaluated_rows(arrays[SPLIT], versions, self._codes))
        self.windows, self.units, self.identity = (
            self._picked.windows,
            self._picked.units,
            self._picked.identity,
        )
        self._state = versions[0].state
        names = Texts.from_arrays(arrays, LABELS)
        self._names = names.pick(range(len(names)))
        known = (label for version in versions for label in version.state["labels"])
        self._labels = dict.fromkeys([*self._names, *known])
        self.warnings: list[str] = []

    def instances(self, state: Json) -> Instances:
        """See `EvaluationSet`."""
        del state
        return PickedInstances(ClassificationInstances(self._arrays), self._picked.rows)

    def actual(self, example: int) -> str:
        """The label."""
        return self._names[int(self._codes[self._picked.rows[example]])]

    def baseline(self, name: str, training: TrainingData | None) -> Predict:
        """Naive Bayes, or the nearest neighbor, of the training examples."""
        training = needed(training, name)
        learned = LearnedLabels(training, self._arrays, self._state)
        self._labels |= dict.fromkeys(learned.names)
        return partial(learned.predict, self._picked.rows)

    def errors(self, example: int, prediction: Json) -> Json:
        """See `label_errors`."""
        return label_errors(prediction, self.actual(example))

    def tally(self, resamples: int) -> LabelTally:
        """See `EvaluationSet`."""
        return LabelTally(resamples, list(self._labels))


class LearnedLabels:
    """The baseline, which learns from one data set and predicts another."""

    _predict: Callable[[Ints], Ints]

    def __init__(self, training: TrainingData, arrays: Arrays, state: Json) -> None:
        known, codes = training.arrays, np.array(training.arrays[LABEL])
        rows = learned_rows(known[SPLIT], training.seed, codes)
        names = Texts.from_arrays(known, LABELS)
        self.names = names.pick(range(len(names)))
        if TEXT in known:
            of_texts = baseline.learn_naive_bayes(Texts.from_arrays(known, TEXT).pick(rows), codes[rows])
            self._predict = lambda chosen: of_texts(Texts.from_arrays(arrays, TEXT).pick(chosen))
        else:
            learned = baseline.learn_nearest_neighbor(
                _standardized(known, rows, state), codes[rows], np.arange(len(rows))
            )
            self._predict = lambda chosen: learned(
                _standardized(arrays, chosen, state), np.arange(len(chosen))
            )

    def predict(self, rows: Ints, examples: Sequence[int]) -> list[Json]:
        """The labels of some examples, which are these rows of the data set."""
        labels = self._predict(rows[np.asarray(examples, np.int64)])
        return [{"label": self.names[label]} for label in labels.tolist()]


def _standardized(arrays: Arrays, rows: Ints, state: Json) -> Ragged:
    """Some rows of readings, standardized as a version reads them."""
    stored = Ragged.from_arrays(arrays, VALUES)
    return Ragged.of([standardize(stored[row], state) for row in rows.tolist()], np.float32)


EVALUATION = ExampleEvaluation((NAIVE_BAYES, NEAREST_NEIGHBOR), _check, ClassificationSet, _baseline_of)
