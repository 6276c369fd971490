"""Evaluation of one label an example: accuracy, macro F1, log loss and calibration."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from app.arrays import Array
from app.tasks.evaluation.resampling import ratio, rounded
from app.tasks.evaluation.sums import SumTally
from app.tasks.shared.label_metrics import CALIBRATION_BINS
from app.typedefs import Json

HIGHER_IS_BETTER: Mapping[str, bool] = {
    "accuracy": True,
    "macro_f1": True,
    "log_loss": False,
    "calibration_error": False,
}
MIN_PROBABILITY = 1e-12  # of the right label, in its logarithm
MAX_LABELS_REPORTED = 50  # with figures of their own
COUNTS = 4  # figures before those of labels and bins: examples, right ones, those with scores, their loss


def label_errors(prediction: Json, actual: str) -> Json:
    """Whether a label is wrong and, if the prediction has probabilities, the log loss in nats."""
    errors: Json = {"wrong": int(prediction["label"] != actual)}
    if "scores" in prediction:
        likely = max(prediction["scores"].get(actual, 0.0), MIN_PROBABILITY)
        errors["log_loss"] = -math.log(likely)
    return errors


class LabelTally:
    """Counts by label, so that F1 can be averaged over the labels of each resample."""

    def __init__(self, resamples: int, labels: Sequence[str]) -> None:
        self._labels = {label: index for index, label in enumerate(labels)}
        width = COUNTS + 3 * len(labels) + 2 * CALIBRATION_BINS
        self._sums = SumTally(resamples, width, self._figures, partial(_metrics, len(labels)))
        self._width, self._counts = width, np.zeros((3, len(labels)))  # right, predicted, expected

    def _figures(self, line: Json) -> Array:
        figures, count = np.zeros(self._width), len(self._labels)
        predicted, expected = self._labels[line["prediction"]["label"]], self._labels[line["actual"]]
        is_right = predicted == expected
        figures[:2] = 1, is_right
        figures[COUNTS + expected] = is_right
        figures[COUNTS + count + predicted] = 1
        figures[COUNTS + 2 * count + expected] = 1
        if "log_loss" in line["errors"]:
            figures[2:COUNTS] = 1, line["errors"]["log_loss"]
            confidence = line["prediction"]["scores"][line["prediction"]["label"]]
            index = COUNTS + 3 * count + 2 * min(int(confidence * CALIBRATION_BINS), CALIBRATION_BINS - 1)
            figures[index : index + 2] = confidence, is_right
        self._counts[:, expected] += is_right, 0, 1
        self._counts[1, predicted] += 1
        return figures

    def add(self, lines: Sequence[Json], weights: Array) -> None:
        """See `Tally`."""
        self._sums.add(lines, weights)

    def values(self) -> dict[str, Array]:
        """See `Tally`."""
        return self._sums.values()

    def report(self) -> Json:
        """Precision, recall, F1 and support of each label that occurs, the most frequent first."""
        right, predicted, expected = self._counts
        order = np.argsort(-expected, kind="stable")[:MAX_LABELS_REPORTED].tolist()
        names = list(self._labels)
        return {
            "by_label": {
                names[label]: {
                    "precision": rounded(right[label] / max(predicted[label], 1)),
                    "recall": rounded(right[label] / max(expected[label], 1)),
                    "f1": rounded(2 * right[label] / (predicted[label] + expected[label])),
                    "support": int(expected[label]),
                }
                for label in order
                if expected[label]
            }
        }


def _metrics(count: int, sums: Array) -> dict[str, Array]:
    """The metrics of sums (resamples, figures); log loss and calibration only of what has probabilities."""
    right, predicted, expected = (
        sums[:, COUNTS + part * count : COUNTS + (part + 1) * count] for part in range(3)
    )
    total, occurs = predicted + expected, predicted + expected > 0  # (resamples, labels)
    f1 = np.where(occurs, 2 * right / np.where(occurs, total, 1.0), 0.0)
    metrics = {
        "accuracy": ratio(sums[:, 1], sums[:, 0]),
        "macro_f1": ratio(f1.sum(axis=1), occurs.sum(axis=1)),
    }
    if sums[0, 2]:
        bins = sums[:, COUNTS + 3 * count :].reshape(len(sums), CALIBRATION_BINS, 2)
        metrics["log_loss"] = ratio(sums[:, 3], sums[:, 2])
        metrics["calibration_error"] = ratio(np.abs(bins[..., 0] - bins[..., 1]).sum(axis=1), sums[:, 2])
    return metrics
