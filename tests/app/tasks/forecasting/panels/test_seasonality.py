import numpy as np
import pytest

from app.tasks.forecasting.panels.rows import fill_gaps
from app.tasks.forecasting.panels.seasonality import (
    are_seasonal,
    autocorrelations,
    detect_seasons,
    previous_season,
    seasonal_indices,
)


def wave(season: int, cycles: int, noise: float = 0.1) -> np.ndarray:
    time = np.arange(season * cycles)
    return np.sin(2 * np.pi * time / season) + noise * np.random.default_rng(1).normal(size=len(time))


def padded(*rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows with zeros at their ends, and their lengths."""
    lengths = np.array([len(row) for row in rows])
    values = np.zeros((len(rows), lengths.max()))
    for own, row in zip(values, rows, strict=True):
        own[: len(row)] = row
    return values, lengths


def test_autocorrelation_is_the_textbook_one() -> None:
    rows = [np.random.default_rng(0).normal(size=size) for size in (50, 700, 11)]
    found = autocorrelations(*padded(*rows), 3)
    for own, values in zip(found, rows, strict=True):
        centred = values - values.mean()
        expected = [float(np.sum(centred[lag:] * centred[:-lag]) / np.sum(centred**2)) for lag in (1, 2, 3)]
        np.testing.assert_allclose(own, expected, atol=1e-12)
        assert np.array_equal(own, autocorrelations(*padded(values), 3)[0])


def test_a_constant_has_no_autocorrelation() -> None:
    assert not autocorrelations(*padded(np.full(30, 1e12)), 5).any()


@pytest.mark.parametrize(("cycles", "seasonal"), [(2, False), (4, True)])
def test_the_test_needs_three_seasons(cycles: int, seasonal: bool) -> None:
    assert are_seasonal(*padded(wave(12, cycles)), 12).tolist() == [seasonal]


def test_noise_is_not_seasonal() -> None:
    assert not are_seasonal(*padded(np.random.default_rng(3).normal(size=120)), 12).any()


@pytest.mark.parametrize("season", [5, 12])
def test_indices_recover_the_wave_in_a_trend(season: int) -> None:
    values = wave(season, 8, noise=0.0) + 0.3 * np.arange(8 * season)
    rows, lengths = padded(values, values[: 3 * season], values)
    observed = np.arange(rows.shape[1]) < lengths[:, None]
    for indices in seasonal_indices(rows, observed, lengths, season):
        np.testing.assert_allclose(indices, np.sin(2 * np.pi * np.arange(season) / season), atol=1e-9)


def test_indices_skip_missing_points() -> None:
    values, observed = wave(4, 10, noise=0.0)[None], np.ones((1, 40), bool)
    values[0, 13], observed[0, 13] = 50.0, False
    indices = seasonal_indices(values, observed, np.array([40]), 4)
    assert abs(indices.sum()) < 1e-9


def test_the_longest_season_that_passes_is_taken() -> None:
    day_and_week = wave(4, 21) + np.tile([0, 0, 0, 0, 3.0, 3, 3], 12)
    values, lengths = padded(day_and_week, wave(4, 20), np.arange(5.0))
    observed = np.arange(values.shape[1]) < lengths[:, None]
    by_season = detect_seasons(values, observed, lengths, (4, 28, 100))
    assert {season: rows.tolist() for season, (rows, _) in by_season.items()} == {28: [0], 4: [1]}
    assert by_season[28][1].shape == (1, 28)


def test_value_and_change_of_the_previous_season() -> None:
    z = np.array([[1.0, 2.0, 3.0, np.nan, 5.0]])
    (before,), (change,) = previous_season(z, 2, 7)
    np.testing.assert_array_equal(before, [np.nan, np.nan, 1, 2, 3, 2, 5])
    np.testing.assert_allclose(change[4:], [2 - 3, 0, 3 - 5])


def test_the_previous_season_reads_no_later_value() -> None:
    z = np.random.default_rng(0).normal(size=(1, 30))
    before, change = previous_season(z, 7, 33)
    changed = z.copy()
    changed[:, 20:] = 99.0
    again = previous_season(changed, 7, 33)
    np.testing.assert_array_equal(before[:, :27], again[0][:, :27])
    np.testing.assert_array_equal(change[:, :27], again[1][:, :27])


def test_gaps_are_filled_as_numpy_does() -> None:
    values = np.array([[0.0, 1.0, 0.0, 0.0, 7.0, 0.0], [0.0] * 6, [0.0, 0.0, 0.0, 5.0, 0.0, 0.0]])
    known = values > 0
    filled = fill_gaps(values, known)
    for row in (0, 2):
        expected = np.interp(np.arange(6), np.flatnonzero(known[row]), values[row, known[row]])
        np.testing.assert_array_equal(filled[row], expected)
    assert not filled[1].any()
