"""What predictions cost, counted."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from app.lanes import Answer, Presence
from app.services.serving.metrics import KEPT, Histogram, Meters


class Lane:
    """A lane as the meters see it."""

    def __init__(self) -> None:
        self.waiting, self.depth = 3, 5
        self.refused = {"queue-full": 2, "unavailable": 1}
        self.present = [
            Presence("w:0", "b", 1, "cpu", "l", ["a/1", "a/2"]),
            Presence("w:1", "b", 2, "cpu", "l", ["a/2"]),
        ]


@pytest.fixture
def meters() -> Meters:
    return Meters(Lane())  # type: ignore[arg-type]


def answer(rows: int = 1, batch: int = 1, queue: float = 0.0, compute: float = 0.0) -> Answer:
    return Answer([np.zeros(1, np.float32)] * rows, queue, compute, batch)


def test_a_value_on_a_bound_belongs_to_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert histogram.cumulative() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert (histogram.count, histogram.total) == (5, 14.0)


def test_rows_and_their_part_of_forward_passes_add_up(meters: Meters) -> None:
    meter = meters.of("m", 1)
    for _ in range(4):  # four requests of two rows in one batch of eight
        meter.note(answer(rows=2, batch=8), 0.01)
    meter.note(answer(), 0.01)
    assert meter.inferences == 9
    assert meter.executions == pytest.approx(2.0)


def test_a_predictor_that_does_not_tell_its_batch_is_no_division_by_zero(meters: Meters) -> None:
    meters.of("m", 1).note(answer(rows=3, batch=0), 0.01)
    assert meters.of("m", 1).executions == 1.0


def sample(meters: Meters, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(meters)
    return registry.get_sample_value(name, labels)


VERSION = {"model": "m", "version": "1"}


def test_phases_are_told_to_prometheus(meters: Meters) -> None:
    meters.of("m", 1).note(answer(queue=0.002, compute=0.02), 0.2)
    for phase, bound, beyond in (
        ("queue", "0.0025", "0.001"),
        ("compute", "0.025", "0.01"),
        ("total", "0.25", "0.1"),
    ):
        assert sample(meters, "recurra_prediction_seconds_bucket", **VERSION, phase=phase, le=bound) == 1
        assert sample(meters, "recurra_prediction_seconds_bucket", **VERSION, phase=phase, le=beyond) == 0
        assert sample(meters, "recurra_prediction_seconds_count", **VERSION, phase=phase) == 1
    assert sample(meters, "recurra_prediction_seconds_sum", **VERSION, phase="total") == pytest.approx(0.2)


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
def test_counters_and_gauges_are_told_to_prometheus(
    meters: Meters, name: str, labels: dict[str, str], expected: float
) -> None:
    meter = meters.of("m", 1)
    meter.note(answer(rows=4, batch=40), 0.01)
    meter.note(answer(rows=1, batch=1), 0.01)
    meter.fail(0.5)
    meter.shadow("same")
    meter.differ(0.0)
    meter.differ(float("inf"))
    assert sample(meters, name, **labels) == expected


def test_an_infinite_difference_leaves_a_finite_sum(meters: Meters) -> None:
    meters.of("m", 1).shadow("different")
    meters.of("m", 1).differ(float("inf"))
    assert sample(meters, "recurra_shadow_difference_sum", **VERSION) == 2.0


def test_versions_without_shadows_have_no_such_series(meters: Meters) -> None:
    meters.of("m", 1).note(answer(), 0.1)
    assert sample(meters, "recurra_shadow_difference_count", **VERSION) is None


def test_the_version_used_longest_ago_is_forgotten_first(meters: Meters) -> None:
    first = meters.of("m", 0)
    for number in range(1, KEPT):
        meters.of("m", number)
    assert meters.of("m", 0) is first  # and so the last to go
    meters.of("m", KEPT)
    kept = [key for key, _ in meters.items()]
    assert len(kept) == KEPT
    assert ("m", 0) in kept
    assert ("m", 1) not in kept


def test_a_scrape_while_nothing_was_asked(meters: Meters) -> None:
    names = [family.name for family in meters.collect()]
    assert len(names) == len(set(names)) >= 10
    assert all(name.startswith("recurra_") for name in names)
