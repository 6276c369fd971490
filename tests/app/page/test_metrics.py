"""Metrics are explained, and compared in the direction that their tasks say."""

import pytest

from app.page.views.metrics import MAIN_METRICS, METRICS, Better, explanations, verdict
from app.tasks import TASKS
from app.tasks.tagging.tag_schemes import PLAIN


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_main_metric_and_the_directions_are_those_of_the_task(name: str) -> None:
    for scheme in (PLAIN, "other"):
        directions = TASKS[name].sweep_metrics({"scheme": scheme})
        assert next(metric for metric in MAIN_METRICS if metric in directions) == next(iter(directions))
        assert {metric: METRICS[metric].better is Better.HIGHER for metric in directions} == directions


@pytest.mark.parametrize(
    ("value", "other", "outcome"),
    [(10.0, 12.0, "beats"), (12.0, 10.0, "does not beat"), (10.0, 10.0, "is as good as")],
)
def test_a_network_and_its_baseline_in_a_sentence(value: float, other: float, outcome: str) -> None:
    sentence = verdict({"mase": 1.0, "smape": value}, {"smape": other})
    assert f"By sMAPE, the main metric here, the network {outcome} the baseline" in sentence
    assert "lower is better" in sentence


def test_what_cannot_be_compared_has_no_verdict() -> None:
    assert (
        verdict({"smape": 1.0}, {})
        == verdict({}, {"smape": 1.0})
        == verdict({"new": 1.0}, {"new": 2.0})
        == ""
    )
    assert verdict({"f1": 0.5, "accuracy": 0.9}, {"f1": 0.4}).endswith("0.5 against 0.4 (higher is better).")


def test_metrics_are_explained() -> None:
    html = explanations(["smape", "bias", "unknown"])
    assert "lower is better" in html
    assert "unknown" not in html
    assert explanations(["unknown"]) == ""
