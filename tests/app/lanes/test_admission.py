"""Admission to a lane: by rows, and by the time that the waiting rows will take."""

import pytest

from app.errors import QueueFull
from app.lanes.admission import (
    FALL_WEIGHT,
    MAX_ARTIFACTS,
    MAX_WAIT_FACTOR,
    MIN_STEPWISE_SECONDS,
    RISE_WEIGHT,
    ROW_OVERHEAD_SECONDS,
    AdmissionController,
)


def rows_admitted(admission: AdmissionController, artifact: str = "a", *, stepwise: bool = False) -> int:
    """How many single rows are admitted."""
    for count in range(100_000):
        try:
            admission.admit(artifact, 1, 0, stepwise=stepwise)
        except QueueFull:
            return count
    raise AssertionError("no bound")


def test_rows_are_bounded_whatever_they_cost() -> None:
    assert rows_admitted(AdmissionController(16, 1e9)) == 16


def test_a_request_larger_than_the_bound_is_admitted_when_nothing_waits() -> None:
    admission = AdmissionController(16, 0.1)
    cost = admission.admit("a", 1000, 0)
    with pytest.raises(QueueFull):
        admission.admit("a", 1, 0)
    admission.release(1000, cost)
    admission.admit("a", 1, 0)


@pytest.mark.parametrize(("seconds", "rows"), [(0.01, 10), (0.001, 95), (0.0001, 666)])
def test_the_slower_the_network_the_fewer_wait(seconds: float, rows: int) -> None:
    admission = AdmissionController(4096, 0.1)
    admission.record_batch("a", seconds, 1)
    assert rows_admitted(admission) == pytest.approx(rows, abs=1)


def test_however_slow_a_network_is_a_few_may_wait() -> None:
    admission = AdmissionController(4096, 0.1)
    admission.record_batch("a", 3.0, 1)
    assert rows_admitted(admission) == MAX_WAIT_FACTOR


def test_the_cost_of_a_single_row_is_remembered_among_large_batches() -> None:
    admission = AdmissionController(4096, 0.01)
    admission.record_batch("a", 0.005, 1)
    for _ in range(100):
        admission.record_batch("a", 0.032, 32)  # together a row costs a millisecond
    assert rows_admitted(admission) == pytest.approx(
        MAX_WAIT_FACTOR * 0.005 / (0.001 + ROW_OVERHEAD_SECONDS), abs=1
    )


def test_more_predictors_let_more_wait() -> None:
    admission = AdmissionController(4096, 0.1)
    admission.record_batch("a", 0.01, 1)
    admission.predictors = 4
    assert rows_admitted(admission) == pytest.approx(40, abs=1)


def test_rows_of_other_processes_count_too() -> None:
    admission = AdmissionController(16, 1e9)
    with pytest.raises(QueueFull):
        admission.admit("a", 1, 16)
    admission.admit("a", 1, 15)
    slow = AdmissionController(4096, 0.1)
    slow.record_batch("a", 0.01, 1)
    slow.admit("a", 1, 8)
    with pytest.raises(QueueFull):
        slow.admit("a", 1, 20)


def test_a_cheap_request_waits_for_the_expensive_ones_before_it() -> None:
    admission = AdmissionController(4096, 0.1)
    admission.record_batch("expensive", 0.05, 1)
    cost = admission.admit("expensive", 2, 0)
    with pytest.raises(QueueFull):
        admission.admit("cheap", 1, 0)
    admission.release(2, cost)
    assert admission.seconds == 0.0
    admission.admit("cheap", 1, 0)


def test_release_subtracts_the_admitted_cost_although_the_estimate_changed() -> None:
    admission = AdmissionController(4096, 1.0)
    costs = []
    for k in range(50):
        admission.record_batch("a", 0.001 * (k + 1), 1)
        costs.append(admission.admit("a", 1, 0))
    for cost in costs:
        admission.release(1, cost)
    assert (admission.rows, admission.seconds) == (0, 0.0)


def test_the_cost_is_per_row_and_rises_slowly() -> None:
    admission = AdmissionController(4096, 0.1)
    admission.record_batch("a", 0.064, 64)
    assert admission.cost("a", 2) == pytest.approx(2 * (0.001 + ROW_OVERHEAD_SECONDS))
    admission.record_batch("a", 1.001, 1)  # a hiccup
    assert admission.cost("a", 1) == pytest.approx(0.001 + RISE_WEIGHT + ROW_OVERHEAD_SECONDS)
    admission.record_batch("a", 0.0, 1)
    assert admission.cost("a", 1) == pytest.approx(
        (0.001 + RISE_WEIGHT) * (1 - FALL_WEIGHT) + ROW_OVERHEAD_SECONDS
    )


def test_stepwise_requests_have_a_bound_of_their_own() -> None:
    """Others wait for one step of all of them, so a full batch of them does not keep the others out."""
    admission = AdmissionController(4096, 0.01)
    admission.record_batch("story", 0.001, 1)
    count = rows_admitted(admission, "story", stepwise=True)
    assert count == pytest.approx(MIN_STEPWISE_SECONDS / (0.001 + ROW_OVERHEAD_SECONDS), abs=1)
    admission.record_batch("quick", 0.001, 1)
    costs = [admission.admit("quick", 1, 0) for _ in range(9)]
    with pytest.raises(QueueFull):
        admission.admit("quick", 1, 0)
    with pytest.raises(QueueFull):
        admission.check("story", 0, stepwise=True)
    for cost in costs:
        admission.release(1, cost)
    admission.check("quick", 0)
    assert admission.rows == count
    admission.release(1, admission.cost("story", 1), stepwise=True)
    admission.check("story", 0, stepwise=True)


def test_rows_of_both_kinds_share_the_bound_on_rows() -> None:
    admission = AdmissionController(10, 1e9)
    admission.admit("story", 6, 0, stepwise=True)
    admission.admit("quick", 4, 0)
    for stepwise in (False, True):
        with pytest.raises(QueueFull):
            admission.check("any", 0, stepwise=stepwise)


def test_a_batch_of_unknown_size_changes_no_cost() -> None:
    admission = AdmissionController(4096, 0.1)
    admission.record_batch("a", 5.0, 0)
    assert admission.cost("a", 1) == ROW_OVERHEAD_SECONDS


def test_remembered_costs_are_bounded_in_number() -> None:
    admission = AdmissionController(4096, 0.1)
    for number in range(MAX_ARTIFACTS + 1):
        admission.record_batch(str(number), 1.0, 1)
    assert admission.cost("0", 1) == ROW_OVERHEAD_SECONDS
    assert admission.cost("1", 1) > 1


def test_checking_for_capacity_admits_nothing() -> None:
    admission = AdmissionController(4, 1e9)
    for _ in range(10):
        admission.check("a", 0)
    assert (admission.rows, admission.seconds) == (0, 0.0)
    for _ in range(4):
        admission.admit("a", 1, 0)
    with pytest.raises(QueueFull):
        admission.check("a", 0)
    assert admission.rows == 4
