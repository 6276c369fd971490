import numpy as np
import pytest

from app.tasks.forecasting.prediction.tails import NORMAL_TAILS, TAIL_SHARES, add_tails, known_range
from app.tasks.forecasting.prediction.widths import MAX_FACTOR, IntervalWidths

LEVELS = [0.1, 0.5, 0.9]
NORMAL = np.array([-1.2815515655446004, 0.0, 1.2815515655446004])
HORIZON = 6


def test_tails_of_normal_forecasts_are_normal() -> None:
    moves = np.broadcast_to(3 * NORMAL + 2, (4, HORIZON, 3))
    levels, known = add_tails(LEVELS, moves, [0.975, 0.025, 0.3, 0.025, 0.995], NORMAL_TAILS)
    assert levels == [0.025, 0.1, 0.5, 0.9, 0.975, 0.995]
    np.testing.assert_allclose(
        known[0, 0], 3 * np.array([-1.96, -1.2816, 0, 1.2816, 1.96, 2.5758]) + 2, atol=1e-3
    )


def test_each_side_has_its_own_distance_and_probability() -> None:
    moves = np.array([[[-1.0, 0.0, 2.0]]])
    levels, known = add_tails([0.2, 0.5, 0.9], moves, [0.1, 0.95], NORMAL_TAILS)
    assert levels == [0.1, 0.2, 0.5, 0.9, 0.95]
    np.testing.assert_allclose(known[0, 0], [-1.2816 / 0.8416, -1, 0, 2, 2 * 1.6449 / 1.2816], atol=1e-3)


def test_nothing_is_added_without_need() -> None:
    moves = np.zeros((1, 2, 3))
    levels, known = add_tails(LEVELS, moves, [0.1, 0.7], NORMAL_TAILS)
    assert levels == LEVELS
    assert known is moves


def test_what_can_be_known_ends_at_a_twentieth_of_the_tail() -> None:
    assert known_range(LEVELS, tails=True) == pytest.approx((0.005, 0.995))
    assert known_range(LEVELS, tails=False) == (0.1, 0.9)
    assert known_range([0.5], tails=True) == (0.5, 0.5)
    assert known_range([0.5, 0.8], tails=True) == pytest.approx((0.5, 0.99))


def coverage(rng: np.random.Generator, excess: list[float], level: float) -> float:
    """The share of errors of a Student distribution within the interval that `add_tails` makes."""
    share = (1 - level) / 2
    _, known = add_tails(LEVELS, student_quantiles(1), [share, 1 - share], excess)
    actual = rng.standard_t(3, size=20_000)
    return float(np.mean((actual > known[0, 0, 0]) & (actual < known[0, 0, -1])))


def student_quantiles(rows: int) -> np.ndarray:
    """The quantiles 0.1, 0.5 and 0.9 of Student's distribution with three degrees of freedom."""
    return np.broadcast_to(np.array([-1.6377, 0.0, 1.6377]), (rows, HORIZON, 3))


def test_heavy_tails_are_seen_at_the_validation_origins() -> None:
    rng = np.random.default_rng(5)
    widths = IntervalWidths(LEVELS, HORIZON)
    widths.add(rng.standard_t(3, size=(3000, HORIZON)), student_quantiles(3000))
    ones = [1.0] * HORIZON
    excess = widths.fit_tails(ones, 1e9)
    assert len(excess) == len(TAIL_SHARES)
    assert excess[0] == 1.0
    for level in (0.9, 0.95, 0.98, 0.99):
        assert coverage(rng, excess, level) == pytest.approx(level, abs=0.01)
    assert coverage(rng, NORMAL_TAILS, 0.99) < 0.975
    half = widths.fit_tails(ones, 1)
    np.testing.assert_allclose(half, np.sqrt(excess), rtol=1e-4)


def test_tails_are_never_lighter_than_normal_and_bounded() -> None:
    rng = np.random.default_rng(6)
    widths = IntervalWidths(LEVELS, HORIZON)
    widths.add(
        rng.uniform(-1.25, 1.25, size=(2000, HORIZON)), np.broadcast_to([-1.0, 0, 1.0], (2000, HORIZON, 3))
    )
    assert widths.fit_tails([1.0] * HORIZON, 1e9) == NORMAL_TAILS
    widths.add(1e6 * rng.standard_t(1, size=(2000, HORIZON)), np.broadcast_to(NORMAL, (2000, HORIZON, 3)))
    assert max(widths.fit_tails([1.0] * HORIZON, 1e9)) == MAX_FACTOR


def test_a_tail_with_few_errors_is_as_heavy_as_the_one_around_it() -> None:
    rng = np.random.default_rng(7)
    widths = IntervalWidths(LEVELS, HORIZON)
    widths.add(
        rng.standard_t(3, size=(50, HORIZON)), student_quantiles(50)
    )  # 300 errors, 30 in half of the tail
    excess = widths.fit_tails([1.0] * HORIZON, 1e9)
    assert excess[1] == excess[2] == excess[3] == excess[4]
    assert IntervalWidths(LEVELS, HORIZON).fit_tails([1.0] * HORIZON, 3.0) == NORMAL_TAILS
