"""Levels of central intervals in percent: as quantiles of a training, and as columns of a forecast."""

from collections.abc import Iterable, Sequence

from recurra.errors import InvalidInput, Json

DIGITS = 6  # of a quantile


def quantiles_of_levels(levels: Iterable[float]) -> list[float]:
    """The quantiles between which the intervals lie, and the median: 80 has 0.1, 0.5 and 0.9."""
    quantiles = {0.5}
    for level in levels:
        if not 0 < level < 100:
            raise InvalidInput(f"a level is a percentage between 0 and 100, not {level}")
        low = round((100 - level) / 200, DIGITS)
        quantiles |= {low, round(1 - low, DIGITS)}
    return sorted(quantiles)


def interval_columns(prediction: Json, levels: Sequence[float] | None) -> dict[str, list[float]]:
    """Columns such as `lo-80` and `hi-80` of a forecast: of `levels`, or without these of its quantiles."""
    if levels is None:
        bounds = _symmetric_quantiles(prediction["quantiles"])
    else:
        intervals = prediction["intervals"]
        named = {level: intervals[f"{level:g}"] for level in levels}
        bounds = {level: (interval["lower"], interval["upper"]) for level, interval in named.items()}
    lower = {f"lo-{level:g}": bounds[level][0] for level in sorted(bounds, reverse=True)}
    return lower | {f"hi-{level:g}": bounds[level][1] for level in sorted(bounds)}


def _symmetric_quantiles(quantiles: dict[str, list[float]]) -> dict[float, tuple[list[float], list[float]]]:
    """The intervals between pairs of quantiles that are as far from the median, by their levels."""
    by_value = {round(float(name), DIGITS): values for name, values in quantiles.items()}
    return {
        round(100 * (1 - 2 * low), 4): (values, by_value[round(1 - low, DIGITS)])
        for low, values in by_value.items()
        if low < 0.5 and round(1 - low, DIGITS) in by_value
    }
