import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared import label_metrics
from app.tasks.shared.label_metrics import (
    calibration_error,
    fit_temperature,
    overall_scores,
    probabilities,
    scores_by_label,
)

NAMES = ["a", "b", "c", "d"]


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_figures_are_those_of_their_definitions(pairs: list[tuple[int, int]]) -> None:
    predicted, expected = (np.array(side) for side in zip(*pairs, strict=True))
    table = [[pairs.count((column, row)) for column in range(4)] for row in range(4)]
    scores = scores_by_label(predicted, expected, NAMES)
    assert scores["confusion_matrix"] == {"labels": NAMES, "rows": table}
    f1 = {}
    for label, name in enumerate(NAMES):
        hits, count, support = table[label][label], sum(row[label] for row in table), sum(table[label])
        f1[label] = ratio(2 * hits, count + support)
        row = {"precision": ratio(hits, count), "recall": ratio(hits, support), "f1": f1[label]}
        assert scores["per_class"][name] == pytest.approx(row | {"support": support})
    overall = overall_scores(predicted, expected)
    assert overall["accuracy"] == pytest.approx((predicted == expected).mean())
    assert overall["macro_f1"] == pytest.approx(np.mean([f1[label] for label in {*predicted, *expected}]))


def test_many_labels_have_no_confusion_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_metrics, "MAX_CONFUSION_LABELS", 3)
    assert scores_by_label(np.array([0]), np.array([1]), NAMES).keys() == {"per_class"}


def test_confidence_that_is_right_has_no_error() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 20_000)
    expected = (rng.random(20_000) > sure).astype(np.int64)
    honest = np.stack([sure, 1 - sure], axis=1)
    assert calibration_error(honest, expected) < 0.01
    assert calibration_error(np.where(honest > 0.5, 0.999, 0.001), expected) > 0.2


def test_the_temperature_is_the_likeliest_one() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4_000, 3)) * 2
    expected = np.array([rng.choice(3, p=row) for row in probabilities(logits, 1.0)])
    assert fit_temperature(5 * logits, expected) == pytest.approx(5, rel=0.1)
    assert fit_temperature(logits / 4, expected) == pytest.approx(0.25, rel=0.1)
    one = probabilities(logits, 3.0)
    np.testing.assert_allclose(one.sum(axis=1), 1)
