import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from app.tasks.classification.metrics import (
    calibration_error,
    confusion,
    judge,
    per_label,
    probabilities,
    temperature,
)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_figures_are_those_of_another_library(pairs: list[tuple[int, int]]) -> None:
    said, wanted = (np.array(side) for side in zip(*pairs, strict=True))
    labels = [0, 1, 2, 3]
    np.testing.assert_array_equal(confusion(said, wanted, 4), confusion_matrix(wanted, said, labels=labels))
    theirs = precision_recall_fscore_support(wanted, said, labels=labels, zero_division=0)
    np.testing.assert_allclose(per_label(confusion(said, wanted, 4)).T, theirs[:3])
    found = judge(said, wanted, ["a", "b", "c", "d"])
    assert found["macro_f1"] == pytest.approx(f1_score(wanted, said, average="macro", zero_division=0))


def test_confidence_that_is_right_has_no_error() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 20_000)
    wanted = (rng.random(20_000) > sure).astype(np.int64)
    honest = np.stack([sure, 1 - sure], axis=1)
    assert calibration_error(honest, wanted) < 0.01
    assert calibration_error(np.where(honest > 0.5, 0.999, 0.001), wanted) > 0.2


def test_the_temperature_is_the_likeliest_one() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4_000, 3)) * 2
    wanted = np.array([rng.choice(3, p=row) for row in probabilities(logits, 1.0)])
    assert temperature(5 * logits, wanted) == pytest.approx(5, rel=0.1)
    assert temperature(logits / 4, wanted) == pytest.approx(0.25, rel=0.1)
    one = probabilities(logits, 3.0)
    np.testing.assert_allclose(one.sum(axis=1), 1)
