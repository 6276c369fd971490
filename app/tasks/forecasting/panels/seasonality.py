"""Seasonality of series: the test and the seasonal indices of the M4 benchmark Naive2, for many at once."""

from collections.abc import Sequence

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.rows import phase_sums, row_sums, windows

Z_90_PERCENT = 1.645  # two-sided normal quantile
MAX_DIRECT_LAGS = 16  # whose products take less time than a Fourier transform
PROFILE_SEASONS = 4  # seasons averaged for a seasonal profile


def autocorrelations(values: Array, lengths: Array, lags: int) -> Array:
    """Autocorrelation at lags 1..lags, (rows, lags), of gap-free rows (rows, time) that end at `lengths`.

    What is behind its end counts as 0 and must be finite. A constant row has zeros. No result depends on how
    long other rows are.
    """
    inside = np.arange(values.shape[1]) < lengths[:, None]
    values = np.where(inside, values, 0.0)
    centred = np.where(inside, values - (row_sums(values) / lengths)[:, None], 0.0)
    products = (_direct_products if lags <= MAX_DIRECT_LAGS else _fourier_products)(centred, lengths, lags)
    largest = np.maximum(1.0, np.abs(values).max(axis=1) ** 2)
    constant = products[:, 0] <= 1e-12 * largest * lengths
    acf = products[:, 1:] / np.where(constant, 1.0, products[:, 0])[:, None]
    return np.where(constant[:, None], 0.0, acf)


def _direct_products(centred: Array, lengths: Array, lags: int) -> Array:
    """The sums of products of each row (rows, time) with itself some points later, (rows, lags + 1)."""
    del lengths  # what is behind them is 0
    rows, time = centred.shape
    padded = np.zeros((rows, time + lags))
    padded[:, :time] = centred
    later = windows(padded, lags + 1)  # (rows, time, lags + 1)
    return np.asarray(np.add.reduce(later * centred[:, :, None], axis=1))  # from left to right


def _fourier_products(centred: Array, lengths: Array, lags: int) -> Array:
    """The same, faster for many lags; the size of a row's transform depends on its own length alone."""
    exponents = np.frexp((lengths + lags).astype(np.float64))[1]  # the bits of each number
    products = np.empty((len(centred), lags + 1))
    for exponent in set(exponents.tolist()):
        rows = np.flatnonzero(exponents == exponent)
        size = 1 << exponent
        spectrum = np.fft.rfft(centred if len(rows) == len(centred) else centred[rows], size, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        products[rows] = np.fft.irfft(power, size, axis=1)[:, : lags + 1]
    return products


def are_seasonal(values: Array, lengths: Array, season: int) -> Array:
    """The seasonality test of Naive2, (rows,): the autocorrelation at the season exceeds its 90 % limits.

    The limits widen with the autocorrelation at shorter lags. The test needs three full seasons. Makridakis,
    Spiliotis & Assimakopoulos (2020), M4 competition.
    """
    passed = np.zeros(len(values), bool)
    rows = np.flatnonzero(lengths >= 3 * season) if season >= 2 else np.zeros(0, np.int64)
    if len(rows):
        acf = autocorrelations(values[rows], lengths[rows], season)
        limit = Z_90_PERCENT * np.sqrt((1 + 2 * row_sums(acf[:, :-1] ** 2)) / lengths[rows])
        passed[rows] = np.abs(acf[:, -1]) > limit
    return passed


def seasonal_indices(values: Array, observed: Array, lengths: Array, season: int) -> Array:
    """Seasonal indices (rows, season) of the classical additive decomposition, with a mean of zero.

    An index is the mean difference of a phase from the centred moving average, over observed points only.
    Rows (rows, time) are gap-free, end at `lengths` and have two seasons or more.
    """
    sums = np.cumsum(values, axis=1)
    sums = np.concatenate([np.zeros((len(values), 1)), sums], axis=1)
    trend = (sums[:, season:] - sums[:, :-season]) / season  # (rows, time - season + 1)
    if season % 2 == 0:
        trend = (trend[:, 1:] + trend[:, :-1]) / 2
    start, count = season // 2, trend.shape[1]
    mask = np.zeros(values.shape, bool)
    mask[:, start : start + count] = np.arange(count) < (lengths - 2 * start)[:, None]
    mask &= observed
    change = np.zeros(values.shape)
    change[:, start : start + count] = values[:, start : start + count] - trend
    counts = phase_sums(mask.astype(np.int64), season)
    indices = phase_sums(np.where(mask, change, 0.0), season) / np.maximum(counts, 1)  # (rows, season)
    mean = row_sums(np.where(counts > 0, indices, 0.0)) / np.maximum((counts > 0).sum(axis=1), 1)
    return np.where(counts > 0, indices - mean[:, None], 0.0)


def detect_seasons(
    values: Array, observed: Array, lengths: Array, seasons: Sequence[int]
) -> dict[int, tuple[Array, Array]]:
    """The longest season that each row passes the test with: by season its rows and their indices by phase.

    Rows that pass no test are in none. Missing points of `values` are interpolated beforehand.
    """
    seasonal: dict[int, tuple[Array, Array]] = {}
    rest = np.arange(len(values))
    for season in sorted(seasons, reverse=True):
        whole = len(rest) == len(values)
        passed = are_seasonal(values if whole else values[rest], lengths[rest], season)
        if passed.any():
            rows = rest[passed]
            seasonal[season] = rows, seasonal_indices(values[rows], observed[rows], lengths[rows], season)
            rest = rest[~passed]
    return seasonal


def previous_season(z: Array, season: int, width: int) -> tuple[Array, Array]:
    """The value one season before each point, and how the usual value of that phase differs from it.

    Of histories (rows, time), NaN = missing or behind the end, both are (rows, width); `width` goes beyond
    the end of each by a season at most. They are NaN before the first season. The usual value is the mean
    over up to `PROFILE_SEASONS` seasons. A missing point takes the value one season before it, so no result
    depends on a later value.
    """
    rows, time = z.shape
    cycles = -(-width // season)
    flat = np.full((rows, (cycles + 1) * season), np.nan)
    flat[:, season : season + time] = z[:, : cycles * season]  # after one empty season
    grid = flat.reshape(rows, cycles + 1, season)
    index = np.arange(cycles + 1)[None, :, None]
    newest = np.maximum.accumulate(np.where(np.isfinite(grid), index, 0), axis=1)
    filled = np.take_along_axis(grid, newest, axis=1)  # (rows, cycles + 1, season)
    known = np.isfinite(filled)
    sums = np.cumsum(np.where(known, filled, 0.0), axis=1)
    counts = np.cumsum(known, axis=1)
    sums[:, PROFILE_SEASONS:] -= sums[:, :-PROFILE_SEASONS].copy()
    counts[:, PROFILE_SEASONS:] -= counts[:, :-PROFILE_SEASONS].copy()
    mean = sums / np.maximum(counts, 1)
    before = filled[:, :-1].reshape(rows, -1)[:, :width]
    return before, (mean - filled)[:, :-1].reshape(rows, -1)[:, :width]
