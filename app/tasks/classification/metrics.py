"""How good probabilities of labels are: what is right, for each label too, and whether they are honest."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from app.tasks.contract import Ints
from app.typedefs import Json

Floats = npt.NDArray[np.floating]

BINS = 15
LARGEST = 50  # labels of which the confusion matrix is told
RATIO = (5**0.5 - 1) / 2
DOUBT = 0.25  # nats, of all examples together, against a temperature that is e times too high or too low


def probabilities(logs: Floats, temperature: float) -> Floats:
    """From log-probabilities (examples, labels) at a temperature (Guo et al. 2017)."""
    scaled = logs.astype(np.float64) / temperature
    odds = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    found: Floats = odds / odds.sum(axis=-1, keepdims=True)
    return found


def temperature(logs: Floats, wanted: Ints) -> float:
    """The one under which what is wanted is likeliest, between 1/20 and 20; by golden section.

    Logs (examples, labels), wanted (examples,). Of few examples, all of them right, the lowest would be the
    likeliest, and every answer certain: the fewer there are, the more it must speak for one far from 1.
    """

    def cost(log: float) -> float:
        likely = probabilities(logs, float(np.exp(log)))[np.arange(len(wanted)), wanted]
        return float(-np.log(np.maximum(likely, 1e-300)).mean()) + DOUBT * log**2 / len(wanted)

    low, high = -np.log(20.0), np.log(20.0)
    for _ in range(40):
        one, other = high - RATIO * (high - low), low + RATIO * (high - low)
        low, high = (low, other) if cost(one) < cost(other) else (one, high)
    return float(np.exp((low + high) / 2))


def calibration_error(likely: Floats, wanted: Ints) -> float:
    """How far confidence is from accuracy, by 15 bins of confidence (ECE: Naeini et al. 2015)."""
    sure, right = likely.max(axis=1), likely.argmax(axis=1) == wanted
    places = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(places, right, BINS) - np.bincount(places, sure, BINS)
    return float(np.abs(gaps).sum() / len(wanted))


def judge(said: Ints, wanted: Ints, labels: Sequence[str]) -> Json:
    """Accuracy and macro F1 of labels by number; labels that neither said nor wanted do not count."""
    table = confusion(said, wanted, len(labels))
    scores = per_label(table)
    seen = (table.sum(axis=0) + table.sum(axis=1)) > 0
    return {"accuracy": float((said == wanted).mean()), "macro_f1": float(scores[seen, 2].mean())}


def confusion(said: Ints, wanted: Ints, count: int) -> Ints:
    """How often each label (row) was taken for each (column)."""
    return np.bincount(wanted * count + said, minlength=count * count).reshape(count, count)


def per_label(table: Ints) -> Floats:
    """Precision, recall and F1 of each label (labels, 3); 0 where there is nothing to divide by."""
    hits, said, wanted = table.diagonal(), table.sum(axis=0), table.sum(axis=1)
    parts = (
        hits / np.maximum(said, 1),
        hits / np.maximum(wanted, 1),
        2 * hits / np.maximum(said + wanted, 1),
    )
    return np.stack(parts, axis=1)


def details(said: Ints, wanted: Ints, labels: Sequence[str]) -> Json:
    """The table by label, and which was taken for which; for many labels the table alone."""
    table = confusion(said, wanted, len(labels))
    rows = {
        label: {"precision": row[0], "recall": row[1], "f1": row[2], "support": int(count)}
        for label, row, count in zip(labels, per_label(table).tolist(), table.sum(axis=1), strict=True)
    }
    found: Json = {"per_class": rows}
    if len(labels) <= LARGEST:
        found["confusion_matrix"] = {"labels": list(labels), "rows": table.tolist()}
    return found
