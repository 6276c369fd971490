"""Figures of labels: confidence before and after the calibration."""

import math

import numpy as np
import pytest

from app.tasks.shared.label_metrics import evaluate_labels


def test_the_calibration_is_measured_before_and_after() -> None:
    expected = np.array([0] * 7 + [1] * 3)
    sure = np.log(np.tile([0.99, 0.01], (10, 1)))
    temperature = math.log(99) / math.log(7 / 3)  # at which it is as sure as it is right
    metrics = evaluate_labels({"labels": ["left", "right"], "temperature": temperature}, expected, sure)
    assert metrics["accuracy"] == 0.7
    assert metrics["calibration_error"] == pytest.approx(0, abs=1e-9)
    assert metrics["calibration_error_before"] == pytest.approx(0.99 - 0.7)
    assert metrics["log_loss"] == pytest.approx(-0.7 * math.log(0.7) - 0.3 * math.log(0.3))
    assert metrics["per_class"]["right"] == {"precision": 0, "recall": 0, "f1": 0, "support": 3}
