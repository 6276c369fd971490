"""Metrics of the labels that were predicted for clips."""

import numpy as np

from app.tasks.arrays import Floats, Ints
from app.tasks.shared import label_metrics
from app.typedefs import Json


def evaluate_labels(state: Json, expected: Ints, log_probabilities: Floats) -> Json:
    """Accuracy, macro F1, log loss, calibration, and a table by label; log-probabilities (clips, labels)."""
    likely = label_metrics.probabilities(log_probabilities, state["temperature"])
    uncalibrated = label_metrics.probabilities(log_probabilities, 1.0)
    predicted = likely.argmax(axis=1)
    right = likely[np.arange(len(expected)), expected]
    return {
        **label_metrics.overall_scores(predicted, expected),
        "log_loss": float(-np.log(np.maximum(right, 1e-12)).mean()),
        "calibration_error": label_metrics.calibration_error(likely, expected),
        "calibration_error_before": label_metrics.calibration_error(uncalibrated, expected),
        **label_metrics.scores_by_label(predicted, expected, state["labels"]),
    }
