"""Whether a series has a season and what it looks like: test and indices of the M4 benchmark Naive2."""

import numpy as np

from app.tasks.contract import Array

Z_VALUE = 1.645  # 90 % two-sided
CYCLES = 4  # seasons that make a profile


def autocorrelation(values: Array, lags: int) -> Array:
    """Autocorrelation at lags 1..lags of a gap-free series; zeros if it does not vary."""
    centred = values - values.mean()
    size = 1 << int(len(values) + lags).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    products = np.fft.irfft(power, size)[: lags + 1]
    if products[0] <= 1e-12 * max(1.0, float(np.abs(values).max()) ** 2) * len(values):
        return np.zeros(lags)
    return np.asarray(products[1:] / products[0])


def is_seasonal(values: Array, season: int) -> bool:
    """The Naive2 test: autocorrelation at the season beyond 90 % limits widened by the shorter lags.

    Needs three full seasons. Makridakis, Spiliotis & Assimakopoulos (2020), M4 competition.
    """
    if season < 2 or len(values) < 3 * season:
        return False
    acf = autocorrelation(values, season)
    limit = Z_VALUE * np.sqrt((1 + 2 * np.sum(acf[:-1] ** 2)) / len(values))
    return bool(abs(acf[-1]) > limit)


def seasonal_indices(values: Array, observed: Array, season: int) -> Array:
    """Additive classical decomposition: per phase the mean around the centred moving average, sum zero."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    trend = (sums[season:] - sums[:-season]) / season  # (time - season + 1,)
    if season % 2 == 0:
        trend = (trend[1:] + trend[:-1]) / 2
    start = season // 2
    where = np.arange(start, start + len(trend))
    seen = observed[where]
    phase = where[seen] % season
    total = np.bincount(phase, (values[where] - trend)[seen], season)
    count = np.bincount(phase, minlength=season)
    indices = total / np.maximum(count, 1)  # (season,)
    return (
        np.asarray(np.where(count > 0, indices - indices[count > 0].mean(), 0.0))
        if seen.any()
        else np.zeros(season)
    )


def season_of(values: Array, observed: Array, seasons: tuple[int, ...]) -> tuple[int, Array]:
    """The longest season the series passes the test for, and its indices by phase; (0, [0]) if none.

    `values` are gap-free: missing ones interpolated.
    """
    for season in sorted(seasons, reverse=True):
        if is_seasonal(values, season):
            return season, seasonal_indices(values, observed, season)
    return 0, np.zeros(1)


def season_before(z: Array, season: int, horizon: int) -> tuple[Array, Array]:
    """What stood a season before each point, and the mean of up to `CYCLES` seasons before minus that.

    (time + horizon,) each, for `horizon` <= season points beyond the last; NaN before there is any.
    A missing point counts as what stood a season before it, so both are causal.
    """
    time = len(z)
    cycles = -(-(time + horizon) // season)
    flat = np.full((cycles + 1) * season, np.nan)
    flat[season : season + time] = z  # one empty season in front
    grid = flat.reshape(cycles + 1, season)
    rows = np.arange(cycles + 1)[:, None]
    latest = np.maximum.accumulate(np.where(np.isfinite(grid), rows, 0), axis=0)
    filled = np.take_along_axis(grid, latest, axis=0)  # (cycles + 1, season)
    known = np.isfinite(filled)
    sums = np.cumsum(np.where(known, filled, 0.0), axis=0)
    counts = np.cumsum(known, axis=0)
    sums[CYCLES:] -= sums[:-CYCLES].copy()
    counts[CYCLES:] -= counts[:-CYCLES].copy()
    mean = sums / np.maximum(counts, 1)
    before = filled[:-1].reshape(-1)[: time + horizon]
    return before, (mean - filled)[:-1].reshape(-1)[: time + horizon]
