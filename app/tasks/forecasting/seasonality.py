"""Seasonality of a series: the test and the seasonal indices of the M4 benchmark Naive2."""

import numpy as np

from app.tasks.arrays import Array

Z_90_PERCENT = 1.645  # two-sided normal quantile
PROFILE_SEASONS = 4  # seasons averaged for a seasonal profile


def autocorrelation(values: Array, lags: int) -> Array:
    """Autocorrelation of gap-free values at lags 1..lags, (lags,); zeros for a constant series."""
    centred = values - values.mean()
    size = 1 << int(len(values) + lags).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    products = np.fft.irfft(power, size)[: lags + 1]
    if products[0] <= 1e-12 * max(1.0, float(np.abs(values).max()) ** 2) * len(values):
        return np.zeros(lags)
    return np.asarray(products[1:] / products[0])


def is_seasonal(values: Array, season: int) -> bool:
    """The seasonality test of Naive2: the autocorrelation at the season exceeds its 90 % limits.

    The limits widen with the autocorrelation at shorter lags. The test needs three full seasons. Makridakis,
    Spiliotis & Assimakopoulos (2020), M4 competition.
    """
    if season < 2 or len(values) < 3 * season:
        return False
    acf = autocorrelation(values, season)
    limit = Z_90_PERCENT * np.sqrt((1 + 2 * np.sum(acf[:-1] ** 2)) / len(values))
    return bool(abs(acf[-1]) > limit)


def seasonal_indices(values: Array, observed: Array, season: int) -> Array:
    """Seasonal indices (season,) of the classical additive decomposition, with a mean of zero.

    An index is the mean difference of a phase from the centred moving average, over observed points only.
    """
    sums = np.cumsum(np.concatenate([[0.0], values]))
    trend = (sums[season:] - sums[:-season]) / season  # (time - season + 1,)
    if season % 2 == 0:
        trend = (trend[1:] + trend[:-1]) / 2
    start = season // 2
    points = np.arange(start, start + len(trend))
    mask = observed[points]
    phase = points[mask] % season
    total = np.bincount(phase, (values[points] - trend)[mask], season)
    count = np.bincount(phase, minlength=season)
    indices = total / np.maximum(count, 1)  # (season,)
    return (
        np.asarray(np.where(count > 0, indices - indices[count > 0].mean(), 0.0))
        if mask.any()
        else np.zeros(season)
    )


def detect_season(values: Array, observed: Array, seasons: tuple[int, ...]) -> tuple[int, Array]:
    """The longest season that passes the test, with its indices by phase; (0, [0]) if none passes.

    Missing points of `values` are interpolated beforehand.
    """
    for season in sorted(seasons, reverse=True):
        if is_seasonal(values, season):
            return season, seasonal_indices(values, observed, season)
    return 0, np.zeros(1)


def previous_season(z: Array, season: int, horizon: int) -> tuple[Array, Array]:
    """The value one season before each point, and how the usual value of that phase differs from it.

    Both are (time + horizon,), with `horizon` <= `season`, and NaN before the first season. The usual value
    is the mean over up to `PROFILE_SEASONS` seasons. A missing point takes the value one season before it,
    so no result depends on a later value.
    """
    time = len(z)
    cycles = -(-(time + horizon) // season)
    flat = np.full((cycles + 1) * season, np.nan)
    flat[season : season + time] = z  # after one empty season
    grid = flat.reshape(cycles + 1, season)
    rows = np.arange(cycles + 1)[:, None]
    latest = np.maximum.accumulate(np.where(np.isfinite(grid), rows, 0), axis=0)
    filled = np.take_along_axis(grid, latest, axis=0)  # (cycles + 1, season)
    known = np.isfinite(filled)
    sums = np.cumsum(np.where(known, filled, 0.0), axis=0)
    counts = np.cumsum(known, axis=0)
    sums[PROFILE_SEASONS:] -= sums[:-PROFILE_SEASONS].copy()
    counts[PROFILE_SEASONS:] -= counts[:-PROFILE_SEASONS].copy()
    mean = sums / np.maximum(counts, 1)
    before = filled[:-1].reshape(-1)[: time + horizon]
    return before, (mean - filled)[:-1].reshape(-1)[: time + horizon]
