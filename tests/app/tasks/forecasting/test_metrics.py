import numpy as np
import pytest

from app.tasks.forecasting.metrics import (
    ForecastScores,
    best_season,
    naive_scales,
    naive_spread,
    pinball_loss,
    seasonal_naive,
    smape_points,
)

NAN = np.nan


def test_smape_by_hand() -> None:
    points = smape_points(np.array([100.0, 0.0, 0.0, -50.0]), np.array([110.0, 0.0, 5.0, 50.0]))
    np.testing.assert_allclose(points, [200 * 10 / 210, 0, 200, 200])


def test_pinball_by_hand() -> None:
    losses = pinball_loss(np.array([10.0]), np.array([[8.0, 13.0]]), [0.1, 0.9])
    np.testing.assert_allclose(losses, [(0.1 * 2 + 0.1 * 3) / 2])


def test_naive_scales_by_hand() -> None:
    rows = np.array([[1.0, 5.0, 2.0, NAN, 4.0], [NAN, NAN, NAN, 1.0, 5.0], [NAN, NAN, NAN, NAN, 1.0]])
    np.testing.assert_allclose(naive_scales(rows, 2), [(1 + 2) / 2, 4.0, 0.0])  # the second at lag 1
    np.testing.assert_allclose(naive_scales(rows, 5), [(4 + 3) / 2, 4.0, 0.0])
    np.testing.assert_allclose(naive_scales(np.zeros((2, 0)), 3), [0.0, 0.0])


@pytest.mark.parametrize("season", [1, 3, 50])
def test_the_spread_is_in_quantiles_of_the_errors(season: int) -> None:
    rng = np.random.default_rng(season)
    rows = np.where(rng.random((20, 40)) < 0.3, NAN, rng.normal(size=(20, 40)))
    rows[0] = NAN
    spread = naive_spread(rows, season, [0.1, 0.5, 0.97])
    for row, found in zip(rows, spread, strict=True):
        errors = row[season:] - row[:-season]
        errors = errors[np.isfinite(errors)]
        wanted = np.quantile(errors, [0.1, 0.5, 0.97]) if len(errors) else np.zeros(3)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("values", "season", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], 4, [3, 4, 5, 6, 3]),
        ([1, 2, 3, 4, 5, NAN], 4, [3, 4, 5, 2, 3]),
        ([7, 8], 4, [8, 8, 7, 8, 8]),
        ([NAN, 3, NAN], 1, [3, 3, 3, 3, 3]),
    ],
)
def test_seasonal_naive(values: list[float], season: int, expected: list[float]) -> None:
    row = np.array(values, float)
    assert seasonal_naive(row[None], season, 5).tolist() == [expected]
    padded = np.stack([np.concatenate([np.full(3, NAN), row]), np.full(3 + len(row), NAN)])
    assert seasonal_naive(padded, season, 5).tolist() == [expected, [0.0] * 5]


def test_the_better_of_two_seasons() -> None:
    week = np.tile(np.repeat([1.0, 9.0], [20, 8]) + np.tile([0.0, 1, 2, 3], 7), 4)
    assert best_season([week], [4, 28]) == 28
    assert best_season([np.tile([1.0, 2, 3, 4], 3)], [4, 28]) == 4
    assert best_season([week], []) == 1


def test_scores_by_hand() -> None:
    scores = ForecastScores([0.1, 0.5, 0.9])
    actual, point = np.array([10.0, NAN, 20.0]), np.array([12.0, 1.0, 20.0])
    quantiles = np.stack([point - 1, point, point + 1], axis=1)
    scores.add(actual[None], point[None], quantiles[None], np.array([4.0]))
    metrics = scores.result()
    assert metrics["smape"] == pytest.approx((200 * 2 / 22 + 0) / 2, abs=1e-5)
    assert metrics["mase"] == pytest.approx(1 / 4)
    assert metrics["coverage"] == 0.5
    first = (0.9 * 1 + 0.5 * 2 + 0.1 * 3) / 3
    assert metrics["pinball"] == pytest.approx((first + (0.1 + 0 + 0.1) / 3) / 2 / 4, abs=1e-5)


def test_a_metric_without_observed_points_is_left_out() -> None:
    scores = ForecastScores([0.5])
    scores.add(np.array([[NAN]]), np.array([[1.0]]), np.ones((1, 1, 1)), np.array([1.0]))
    assert scores.result() == {}
    scores.add(np.array([[1.0]]), np.array([[1.0]]), np.ones((1, 1, 1)), np.array([0.0]))
    assert set(scores.result()) == {"smape", "coverage", "coverage_by_lead"}


def test_a_scale_too_small_to_divide_by_is_left_out() -> None:
    scores = ForecastScores([0.5])
    scores.add(np.array([[4.0]]), np.array([[1.0]]), np.array([[[1.0]]]), np.array([2.2e-308]))
    assert "mase" not in scores.result()
    numbers = [value for value in scores.result().values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()


def test_forecasts_together_score_as_one_after_the_other() -> None:
    rng = np.random.default_rng(2)
    actual = np.where(rng.random((30, 6)) < 0.4, NAN, rng.normal(size=(30, 6)))
    quantiles = np.sort(rng.normal(size=(30, 6, 3)), axis=2)
    scales = rng.choice([0.0, 1.0, 3.0], 30)
    together, single = ForecastScores([0.1, 0.5, 0.9]), ForecastScores([0.1, 0.5, 0.9])
    together.add(actual, quantiles[..., 1], quantiles, scales)
    for row in range(30):
        part = slice(row, row + 1)
        single.add(actual[part], quantiles[part, :, 1], quantiles[part], scales[part])
    by_lead = together.result()["coverage_by_lead"], single.result()["coverage_by_lead"]
    assert by_lead[0] == pytest.approx(by_lead[1])
    numbers, others = (
        {name: value for name, value in scores.result().items() if isinstance(value, float)}
        for scores in (together, single)
    )
    assert numbers == pytest.approx(others, abs=2e-6)
    assert len(numbers) == 5


def test_bias_coverage_by_lead_and_the_worst_series_by_hand() -> None:
    scores = ForecastScores([0.1, 0.5, 0.9])
    actual = np.array([[10.0, 20.0], [5.0, NAN], [1.0, 1.0]])
    point = np.array([[12.0, 19.0], [4.0, 9.0], [1.0, 1.0]])
    quantiles = np.stack([point - 1, point, point + 1], axis=2)
    scores.add(actual, point, quantiles, np.array([2.0, 0.5, 0.0]), ["a", "b", "without a scale"])
    metrics = scores.result()
    assert metrics["bias"] == pytest.approx(((2 - 1) / 2 / 2 + (-1) / 0.5) / 2)
    assert metrics["coverage_by_lead"] == [pytest.approx(2 / 3, abs=1e-6), 1.0]
    assert metrics["worst_series"] == [{"item_id": "b", "mase": 2.0}, {"item_id": "a", "mase": 0.75}]
