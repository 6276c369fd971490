"""The counters of predictions."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from app.lanes import Answer, PredictorPresence
from app.services.serving.metrics import MAX_VERSIONS, Histogram, PredictionMetrics


class Lane:
    """A lane as the metrics read it."""

    def __init__(self) -> None:
        self.waiting_rows, self.depth = 3, 5
        self.error_counts = {"queue-full": 2, "unavailable": 1}
        self.known_predictors = [
            PredictorPresence("w:0", "b", 1, "cpu", "l", ["a/1", "a/2"]),
            PredictorPresence("w:1", "b", 2, "cpu", "l", ["a/2"]),
        ]


@pytest.fixture
def metrics() -> PredictionMetrics:
    return PredictionMetrics(Lane())  # type: ignore[arg-type]


def answer(rows: int = 1, batch: int = 1, queue: float = 0.0, compute: float = 0.0) -> Answer:
    return Answer([np.zeros(1, np.float32)] * rows, queue, compute, batch)


def test_a_value_on_a_bound_belongs_to_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert histogram.cumulative() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert (histogram.count, histogram.total) == (5, 14.0)


def test_rows_and_their_part_of_forward_passes_add_up(metrics: PredictionMetrics) -> None:
    version = metrics.of_version("m", 1)
    for _ in range(4):  # four requests of two rows in one batch of eight
        version.record_answer(answer(rows=2, batch=8), 0.01)
    version.record_answer(answer(), 0.01)
    assert version.inferences == 9
    assert version.executions == pytest.approx(2.0)


def test_a_reply_without_its_batch_size_is_no_division_by_zero(metrics: PredictionMetrics) -> None:
    metrics.of_version("m", 1).record_answer(answer(rows=3, batch=0), 0.01)
    assert metrics.of_version("m", 1).executions == 1.0


def sample(metrics: PredictionMetrics, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    return registry.get_sample_value(name, labels)


VERSION = {"model": "m", "version": "1"}


def test_phases_are_exported_to_prometheus(metrics: PredictionMetrics) -> None:
    metrics.of_version("m", 1).record_answer(answer(queue=0.002, compute=0.02), 0.2)
    for phase, bound, beyond in (
        ("queue", "0.0025", "0.001"),
        ("compute", "0.025", "0.01"),
        ("total", "0.25", "0.1"),
    ):
        assert sample(metrics, "recurra_prediction_seconds_bucket", **VERSION, phase=phase, le=bound) == 1
        assert sample(metrics, "recurra_prediction_seconds_bucket", **VERSION, phase=phase, le=beyond) == 0
        assert sample(metrics, "recurra_prediction_seconds_count", **VERSION, phase=phase) == 1
    assert sample(metrics, "recurra_prediction_seconds_sum", **VERSION, phase="total") == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("recurra_predictions_total", {**VERSION, "outcome": "succeeded"}, 2),
        ("recurra_predictions_total", {**VERSION, "outcome": "failed"}, 1),
        ("recurra_prediction_rows_total", VERSION, 5),
        ("recurra_prediction_batch_rows_bucket", {**VERSION, "le": "32.0"}, 1),
        ("recurra_prediction_batch_rows_bucket", {**VERSION, "le": "64.0"}, 2),
        ("recurra_shadows_total", {**VERSION, "outcome": "same"}, 1),
        ("recurra_shadow_difference_count", VERSION, 2),
        ("recurra_shadow_difference_bucket", {**VERSION, "le": "1.0"}, 1),
        ("recurra_lane_waiting_rows", {}, 3),
        ("recurra_lane_depth", {}, 5),
        ("recurra_predictors", {}, 2),
        ("recurra_loaded_versions", {}, 2),
        ("recurra_lane_refusals_total", {"code": "queue-full"}, 2),
    ],
)
def test_counters_and_gauges_are_exported_to_prometheus(
    metrics: PredictionMetrics, name: str, labels: dict[str, str], expected: float
) -> None:
    version = metrics.of_version("m", 1)
    version.record_answer(answer(rows=4, batch=40), 0.01)
    version.record_answer(answer(rows=1, batch=1), 0.01)
    version.record_failure(0.5)
    version.record_shadow("same")
    version.record_difference(0.0)
    version.record_difference(float("inf"))
    assert sample(metrics, name, **labels) == expected


def test_an_infinite_difference_leaves_a_finite_sum(metrics: PredictionMetrics) -> None:
    metrics.of_version("m", 1).record_shadow("different")
    metrics.of_version("m", 1).record_difference(float("inf"))
    assert sample(metrics, "recurra_shadow_difference_sum", **VERSION) == 2.0


def test_versions_without_shadows_have_no_such_series(metrics: PredictionMetrics) -> None:
    metrics.of_version("m", 1).record_answer(answer(), 0.1)
    assert sample(metrics, "recurra_shadow_difference_count", **VERSION) is None


def test_the_version_used_longest_ago_is_forgotten_first(metrics: PredictionMetrics) -> None:
    first = metrics.of_version("m", 0)
    for number in range(1, MAX_VERSIONS):
        metrics.of_version("m", number)
    assert metrics.of_version("m", 0) is first  # and so the last to go
    metrics.of_version("m", MAX_VERSIONS)
    keys = [key for key, _ in metrics.items()]
    assert len(keys) == MAX_VERSIONS
    assert ("m", 0) in keys
    assert ("m", 1) not in keys


def test_a_scrape_before_any_request(metrics: PredictionMetrics) -> None:
    names = [family.name for family in metrics.collect()]
    assert len(names) == len(set(names)) >= 10
    assert all(name.startswith("recurra_") for name in names)
