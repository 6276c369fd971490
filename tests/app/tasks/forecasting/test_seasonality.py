import numpy as np
import pytest

from app.tasks.forecasting.seasonality import (
    autocorrelation,
    detect_season,
    is_seasonal,
    previous_season,
    seasonal_indices,
)


def wave(season: int, cycles: int, noise: float = 0.1) -> np.ndarray:
    time = np.arange(season * cycles)
    return np.sin(2 * np.pi * time / season) + noise * np.random.default_rng(1).normal(size=len(time))


def test_autocorrelation_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(size=50)
    centred = values - values.mean()
    expected = [float(np.sum(centred[lag:] * centred[:-lag]) / np.sum(centred**2)) for lag in (1, 2, 3)]
    np.testing.assert_allclose(autocorrelation(values, 3), expected, atol=1e-12)


def test_a_constant_has_no_autocorrelation() -> None:
    assert not autocorrelation(np.full(30, 1e12), 5).any()


@pytest.mark.parametrize(("cycles", "seasonal"), [(2, False), (4, True)])
def test_the_test_needs_three_seasons(cycles: int, seasonal: bool) -> None:
    assert is_seasonal(wave(12, cycles), 12) is seasonal


def test_noise_is_not_seasonal() -> None:
    assert not is_seasonal(np.random.default_rng(3).normal(size=120), 12)


@pytest.mark.parametrize("season", [5, 12])
def test_indices_recover_the_wave_in_a_trend(season: int) -> None:
    values = wave(season, 8, noise=0.0) + 0.3 * np.arange(8 * season)
    indices = seasonal_indices(values, np.ones(len(values), bool), season)
    np.testing.assert_allclose(indices, np.sin(2 * np.pi * np.arange(season) / season), atol=1e-9)


def test_indices_skip_missing_points() -> None:
    values, observed = wave(4, 10, noise=0.0), np.ones(40, bool)
    values[13], observed[13] = 50.0, False
    indices = seasonal_indices(values, observed, 4)
    assert abs(indices.sum()) < 1e-9


def test_the_longest_season_that_passes_is_taken() -> None:
    day_and_week = wave(4, 21) + np.tile([0, 0, 0, 0, 3.0, 3, 3], 12)
    assert detect_season(day_and_week, np.ones(84, bool), (4, 28))[0] == 28
    assert detect_season(wave(4, 30), np.ones(120, bool), (4, 100))[0] == 4
    assert detect_season(np.arange(5.0), np.ones(5, bool), (4,))[0] == 0


def test_value_and_change_of_the_previous_season() -> None:
    z = np.array([1.0, 2.0, 3.0, np.nan, 5.0])
    before, change = previous_season(z, 2, 2)
    np.testing.assert_array_equal(before, [np.nan, np.nan, 1, 2, 3, 2, 5])
    np.testing.assert_allclose(change[4:], [2 - 3, 0, 3 - 5])


def test_the_previous_season_reads_no_later_value() -> None:
    z = np.random.default_rng(0).normal(size=30)
    before, change = previous_season(z, 7, 3)
    changed = z.copy()
    changed[20:] = 99.0
    again = previous_season(changed, 7, 3)
    np.testing.assert_array_equal(before[:27], again[0][:27])
    np.testing.assert_array_equal(change[:27], again[1][:27])
