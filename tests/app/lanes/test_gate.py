"""Admission to a lane: by rows, and by the time that what waits will take."""

import pytest

from app.errors import QueueFull
from app.lanes.gate import DOWN, KEPT, PATIENCE, ROW_SECONDS, STEP_SECONDS, UP, Gate


def filled(gate: Gate, artifact: str = "a", *, stepwise: bool = False) -> int:
    """How many single rows it takes."""
    for count in range(100_000):
        try:
            gate.enter(artifact, 1, 0, stepwise=stepwise)
        except QueueFull:
            return count
    raise AssertionError("it has no bound")


def test_rows_are_bounded_whatever_they_cost() -> None:
    assert filled(Gate(16, 1e9)) == 16


def test_a_request_larger_than_the_bound_is_taken_when_nothing_waits() -> None:
    gate = Gate(16, 0.1)
    cost = gate.enter("a", 1000, 0)
    with pytest.raises(QueueFull):
        gate.enter("a", 1, 0)
    gate.leave(1000, cost)
    gate.enter("a", 1, 0)


@pytest.mark.parametrize(("seconds", "rows"), [(0.01, 10), (0.001, 95), (0.0001, 666)])
def test_the_slower_the_network_the_fewer_wait(seconds: float, rows: int) -> None:
    gate = Gate(4096, 0.1)
    gate.learn("a", seconds, 1)
    assert filled(gate) == pytest.approx(rows, abs=1)


def test_however_slow_a_network_is_a_few_may_wait() -> None:
    gate = Gate(4096, 0.1)
    gate.learn("a", 3.0, 1)
    assert filled(gate) == PATIENCE


def test_what_a_row_takes_alone_is_not_forgotten_in_a_crowd() -> None:
    gate = Gate(4096, 0.01)
    gate.learn("a", 0.005, 1)
    for _ in range(100):
        gate.learn("a", 0.032, 32)  # together a row costs a millisecond
    assert filled(gate) == pytest.approx(PATIENCE * 0.005 / (0.001 + ROW_SECONDS), abs=1)


def test_more_predictors_let_more_wait() -> None:
    gate = Gate(4096, 0.1)
    gate.learn("a", 0.01, 1)
    gate.predictors = 4
    assert filled(gate) == pytest.approx(40, abs=1)


def test_what_waits_elsewhere_counts_too() -> None:
    gate = Gate(16, 1e9)
    with pytest.raises(QueueFull):
        gate.enter("a", 1, 16)
    gate.enter("a", 1, 15)
    slow = Gate(4096, 0.1)
    slow.learn("a", 0.01, 1)
    slow.enter("a", 1, 8)
    with pytest.raises(QueueFull):
        slow.enter("a", 1, 20)


def test_a_cheap_request_waits_for_the_dear_ones_before_it() -> None:
    gate = Gate(4096, 0.1)
    gate.learn("dear", 0.05, 1)
    cost = gate.enter("dear", 2, 0)
    with pytest.raises(QueueFull):
        gate.enter("cheap", 1, 0)
    gate.leave(2, cost)
    assert gate.seconds == 0.0
    gate.enter("cheap", 1, 0)


def test_leaving_gives_back_what_entering_took_although_the_price_changed() -> None:
    gate = Gate(4096, 1.0)
    costs = []
    for k in range(50):
        gate.learn("a", 0.001 * (k + 1), 1)
        costs.append(gate.enter("a", 1, 0))
    for cost in costs:
        gate.leave(1, cost)
    assert (gate.rows, gate.seconds) == (0, 0.0)


def test_the_price_is_by_row_and_follows_slowly_upwards() -> None:
    gate = Gate(4096, 0.1)
    gate.learn("a", 0.064, 64)
    assert gate.cost("a", 2) == pytest.approx(2 * (0.001 + ROW_SECONDS))
    gate.learn("a", 1.001, 1)  # a hiccup
    assert gate.cost("a", 1) == pytest.approx(0.001 + UP + ROW_SECONDS)
    gate.learn("a", 0.0, 1)
    assert gate.cost("a", 1) == pytest.approx((0.001 + UP) * (1 - DOWN) + ROW_SECONDS)


def test_what_is_decoded_step_by_step_has_a_bound_of_its_own() -> None:
    """A pass of all of it is what others wait for; that many share one does not shut the others out."""
    gate = Gate(4096, 0.01)
    gate.learn("story", 0.001, 1)
    count = filled(gate, "story", stepwise=True)
    assert count == pytest.approx(STEP_SECONDS / (0.001 + ROW_SECONDS), abs=1)
    gate.learn("quick", 0.001, 1)
    costs = [gate.enter("quick", 1, 0) for _ in range(9)]
    with pytest.raises(QueueFull):
        gate.enter("quick", 1, 0)
    with pytest.raises(QueueFull):
        gate.check("story", 0, stepwise=True)
    for cost in costs:
        gate.leave(1, cost)
    gate.check("quick", 0)
    assert gate.rows == count
    gate.leave(1, gate.cost("story", 1), stepwise=True)
    gate.check("story", 0, stepwise=True)


def test_rows_of_both_kinds_share_the_bound_on_rows() -> None:
    gate = Gate(10, 1e9)
    gate.enter("story", 6, 0, stepwise=True)
    gate.enter("quick", 4, 0)
    for stepwise in (False, True):
        with pytest.raises(QueueFull):
            gate.check("any", 0, stepwise=stepwise)


def test_a_batch_of_unknown_size_teaches_nothing() -> None:
    gate = Gate(4096, 0.1)
    gate.learn("a", 5.0, 0)
    assert gate.cost("a", 1) == ROW_SECONDS


def test_prices_are_bounded_in_number() -> None:
    gate = Gate(4096, 0.1)
    for number in range(KEPT + 1):
        gate.learn(str(number), 1.0, 1)
    assert gate.cost("0", 1) == ROW_SECONDS
    assert gate.cost("1", 1) > 1


def test_looking_whether_one_more_could_wait_takes_nothing() -> None:
    gate = Gate(4, 1e9)
    for _ in range(10):
        gate.check("a", 0)
    assert (gate.rows, gate.seconds) == (0, 0.0)
    for _ in range(4):
        gate.enter("a", 1, 0)
    with pytest.raises(QueueFull):
        gate.check("a", 0)
    assert gate.rows == 4
