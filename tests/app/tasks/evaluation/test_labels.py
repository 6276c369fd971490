"""Figures of labels by hand."""

import math

import numpy as np
import pytest

from app.errors import Invalid
from app.tasks.evaluation.contract import TrainedVersion
from app.tasks.evaluation.labels import LabelTally, label_errors
from app.tasks.evaluation.rows import evaluated_rows, learned_rows
from app.tasks.shared.splits import TEST, TRAIN, UNASSIGNED, partition_rows
from app.typedefs import Json


def line(label: str, actual: str, **scores: float) -> Json:
    prediction: Json = {"label": label, "scores": scores} if scores else {"label": label}
    return {"prediction": prediction, "actual": actual, "errors": label_errors(prediction, actual)}


def test_labels_by_hand() -> None:
    tally = LabelTally(2, ["a", "b", "c"])
    lines = [line("a", "a", a=0.9, b=0.1), line("a", "b", a=0.6, b=0.4), line("b", "b", a=0.2, b=0.8)]
    tally.add(lines[:2], np.array([[1.0, 1.0], [0.0, 3.0]]))
    tally.add(lines[2:], np.array([[1.0], [0.0]]))
    values = {name: value.tolist() for name, value in tally.values().items()}
    assert values["accuracy"] == [pytest.approx(2 / 3), 0.0]
    assert values["macro_f1"][0] == pytest.approx((2 / 3 + 2 / 3) / 2)  # c does not occur
    assert values["log_loss"] == [
        pytest.approx(-(math.log(0.9) + math.log(0.4) + math.log(0.8)) / 3), pytest.approx(-math.log(0.4))
    ]  # fmt: skip
    assert values["calibration_error"][0] == pytest.approx((0.1 + 0.6 + 0.2) / 3)
    assert tally.report()["by_label"] == {
        "b": {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3, rel=1e-5), "support": 2},
        "a": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3, rel=1e-5), "support": 1},
    }


def test_a_baseline_without_probabilities_has_no_log_loss() -> None:
    tally = LabelTally(1, ["a", "b"])
    tally.add([line("a", "b")], np.ones((1, 1)))
    assert tally.values().keys() == {"accuracy", "macro_f1"}
    assert label_errors({"label": "a", "scores": {"a": 1.0}}, "unheard of")["log_loss"] == pytest.approx(
        27.63, abs=0.01
    )


def version(seed: int, *, known: bool) -> TrainedVersion:
    return TrainedVersion({}, seed, known)


def test_what_a_version_was_trained_on_is_left_out() -> None:
    codes = np.full(100, UNASSIGNED)
    assert evaluated_rows(codes, [version(1, known=False)]).tolist() == list(range(100))
    held_out = partition_rows(codes, 1).test
    assert (evaluated_rows(codes, [version(1, known=True), version(2, known=False)]) == held_out).all()
    both = np.intersect1d(held_out, partition_rows(codes, 2).test)
    if len(both):
        assert (evaluated_rows(codes, [version(1, known=True), version(2, known=True)]) == both).all()
    seeds = [version(seed, known=True) for seed in range(12)]
    with pytest.raises(Invalid, match="no example was held out"):
        evaluated_rows(codes, seeds)
    assert not set(learned_rows(codes, 1).tolist()) & set(held_out.tolist())
    marked = np.where(np.arange(100) < 7, TEST, TRAIN)
    assert evaluated_rows(marked, [version(1, known=False)]).tolist() == list(range(7))
