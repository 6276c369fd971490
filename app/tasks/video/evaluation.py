"""Evaluation of labels of clips."""

from collections.abc import Mapping, Sequence

import numpy as np

from app.arrays import Arrays
from app.errors import Problem
from app.tasks.contract import Instances
from app.tasks.evaluation.contract import EvaluationSettings, Predict, TrainedVersion, TrainingData
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
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import SPLIT
from app.tasks.video.baseline import most_frequent
from app.tasks.video.inference import VideoInstances
from app.tasks.video.options import VideoParameters
from app.tasks.video.reading import LABEL, LABELS
from app.typedefs import Json

MOST_FREQUENT = "most_frequent"


def _check(
    summary: Json,
    states: Sequence[Json],
    parameters: VideoParameters,
    settings: EvaluationSettings,
) -> list[Problem]:
    """Refuse clips without labels, and parameters that hide probabilities."""
    del states, settings
    return check_scores(parameters) if summary["classes"] else lacks("its clips have no labels")


class VideoSet:
    """Labelled clips, see `EvaluationSet`."""

    higher_is_better: Mapping[str, bool] = HIGHER_IS_BETTER
    unit = "example"
    training_arrays = staticmethod(without_windows)

    def __init__(self, arrays: Arrays, versions: Sequence[TrainedVersion]) -> None:
        self._arrays, self._codes = arrays, np.array(arrays[LABEL])
        self._picked = PickedRows(evaluated_rows(arrays[SPLIT], versions, self._codes))
        self.windows, self.units = self._picked.windows, self._picked.units
        self.identity = self._picked.identity
        self._names = _names(arrays)
        known = (label for version in versions for label in version.state["labels"])
        self._labels = dict.fromkeys([*self._names, *known])
        self.warnings: list[str] = []

    def instances(self, state: Json) -> Instances:
        """See `EvaluationSet`."""
        del state
        return PickedInstances(VideoInstances(self._arrays), self._picked.rows)

    def actual(self, example: int) -> str:
        """The label."""
        return self._names[int(self._codes[self._picked.rows[example]])]

    def baseline(self, name: str, training: TrainingData | None) -> Predict:
        """The most frequent label of the training clips."""
        training = needed(training, name)
        codes = np.array(training.arrays[LABEL])
        rows = learned_rows(training.arrays[SPLIT], training.seed, codes)
        label = _names(training.arrays)[int(most_frequent(codes[rows], 1)[0])]
        self._labels[label] = None
        return lambda examples: [{"label": label} for _ in examples]

    def errors(self, example: int, prediction: Json) -> Json:
        """See `label_errors`."""
        return label_errors(prediction, self.actual(example))

    def tally(self, resamples: int) -> LabelTally:
        """See `EvaluationSet`."""
        return LabelTally(resamples, list(self._labels))


def _names(arrays: Arrays) -> list[str]:
    names = Texts.from_arrays(arrays, LABELS)
    return names.pick(range(len(names)))


EVALUATION = ExampleEvaluation((MOST_FREQUENT,), _check, VideoSet)
