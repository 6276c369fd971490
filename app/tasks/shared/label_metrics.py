"""Metrics of predicted labels, by scikit-learn, and the temperature that calibrates their probabilities."""

from collections.abc import Sequence
from importlib import import_module  # only a worker that evaluates pays for the library

import numpy as np

from app.arrays import Array, Ints
from app.tasks.contract import Prediction
from app.typedefs import Json

CALIBRATION_BINS = 15
MAX_CONFUSION_LABELS = 50  # a confusion matrix of more labels is left out
GOLDEN_RATIO = (5**0.5 - 1) / 2
MAX_TEMPERATURE = 20.0  # the lowest is its inverse
PRIOR_NATS = 0.25  # weight of the prior: its cost, over all examples, at a temperature of e or 1/e


def probabilities(log_probabilities: Array, temperature: float) -> Array:
    """Probabilities (examples, labels) at a temperature, in float64 (Guo et al. 2017)."""
    scaled = log_probabilities.astype(np.float64) / temperature
    odds = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    normalized: Array = odds / odds.sum(axis=-1, keepdims=True)
    return normalized


class LabelPrediction(Prediction):
    """A label, and the probabilities of the most probable labels."""

    label: str
    scores: dict[str, float]


def label_answer(state: Json, outputs: Array, top_k: int | None) -> Json:
    """The most probable label, and the probabilities of the first labels, in falling order.

    Outputs are log-probabilities (labels,); the state has `labels` and `temperature`.
    """
    likely = probabilities(outputs, state["temperature"])
    order = np.argsort(-likely, kind="stable")[:top_k]
    scores = {state["labels"][label]: float(likely[label]) for label in order.tolist()}
    return {"label": next(iter(scores)), "scores": scores}


def fit_temperature(log_probabilities: Array, expected: Ints) -> float:
    """The temperature between 1/20 and 20 that maximizes the likelihood of the expected labels.

    Log-probabilities (examples, labels), expected (examples,); golden-section search. On few examples that
    are all correct the likelihood is maximal at T → 0. A log-normal prior on T, of fixed weight, keeps it
    near 1.
    """

    def cost(log: float) -> float:
        likely = probabilities(log_probabilities, float(np.exp(log)))[np.arange(len(expected)), expected]
        return float(-np.log(np.maximum(likely, 1e-300)).mean()) + PRIOR_NATS * log**2 / len(expected)

    low, high = -np.log(MAX_TEMPERATURE), np.log(MAX_TEMPERATURE)
    for _ in range(40):
        left, right = high - GOLDEN_RATIO * (high - low), low + GOLDEN_RATIO * (high - low)
        low, high = (low, right) if cost(left) < cost(right) else (left, high)
    return float(np.exp((low + high) / 2))


def log_loss(likely: Array, expected: Ints) -> float:
    """The mean of -ln p of the expected labels, in nats, by probabilities (examples, labels)."""
    right = likely[np.arange(len(expected)), expected]  # (examples,)
    return float(-np.log(np.maximum(right, 1e-12)).mean())


def calibration_error(likely: Array, expected: Ints) -> float:
    """Expected calibration error of probabilities (examples, labels), 15 bins (ECE: Naeini et al. 2015)."""
    confidence, correct = likely.max(axis=1), likely.argmax(axis=1) == expected
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, correct, CALIBRATION_BINS) - np.bincount(bins, confidence, CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(expected))


def evaluate_labels(state: Json, expected: Ints, log_probabilities: Array) -> Json:
    """Accuracy, macro F1, log loss, calibration, and a table by label.

    Log-probabilities are (examples, labels), expected labels (examples,); the state has `labels` and
    `temperature`.
    """
    likely = probabilities(log_probabilities, state["temperature"])
    predicted = likely.argmax(axis=1)
    return {
        **overall_scores(predicted, expected),
        "log_loss": log_loss(likely, expected),
        "calibration_error": calibration_error(likely, expected),
        "calibration_error_before": calibration_error(probabilities(log_probabilities, 1.0), expected),
        **scores_by_label(predicted, expected, state["labels"]),
    }


def overall_scores(predicted: Ints, expected: Ints) -> Json:
    """Accuracy and macro F1 of label numbers (examples,); labels in neither array do not count."""
    library = import_module("sklearn")
    return {
        "accuracy": float(library.metrics.accuracy_score(expected, predicted)),
        "macro_f1": float(library.metrics.f1_score(expected, predicted, average="macro", zero_division=0.0)),
    }


def scores_by_label(predicted: Ints, expected: Ints, labels: Sequence[str]) -> Json:
    """Precision, recall, F1 and support of each label; for up to 50 labels the confusion matrix as well.

    A quotient whose divisor is 0 is 0. Rows of the matrix are expected labels, columns predicted ones.
    """
    library, numbers = import_module("sklearn"), np.arange(len(labels))
    columns = library.metrics.precision_recall_fscore_support(
        expected, predicted, labels=numbers, zero_division=0.0
    )
    names = ("precision", "recall", "f1", "support")
    rows = zip(*(column.tolist() for column in columns), strict=True)
    scores: Json = {
        "per_class": {
            label: dict(zip(names, row, strict=True)) for label, row in zip(labels, rows, strict=True)
        }
    }
    if len(labels) <= MAX_CONFUSION_LABELS:
        matrix = library.metrics.confusion_matrix(expected, predicted, labels=numbers)
        scores["confusion_matrix"] = {"labels": list(labels), "rows": matrix.tolist()}
    return scores
