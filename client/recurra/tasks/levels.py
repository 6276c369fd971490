"""Levels of prediction intervals in percent, and the quantiles they lie between."""

from collections.abc import Iterable, Mapping, Sequence

from recurra.errors import InvalidInput

DIGITS = 6  # of a quantile


def quantiles_of_levels(levels: Iterable[float]) -> list[float]:
    """The quantiles between which the intervals lie, and the median: 80 has 0.1 and 0.9."""
    quantiles = {0.5}
    for level in levels:
        if not 0 < level < 100:
            raise InvalidInput(f"a level is a percentage between 0 and 100, not {level}")
        quantiles.update(_bounds(level))
    return sorted(quantiles)


def level_quantiles(levels: Sequence[float], trained: Iterable[float]) -> list[float]:
    """The quantiles of a request for these levels; raises `InvalidInput` for one that was not trained."""
    known = {round(quantile, DIGITS): quantile for quantile in trained}
    missing = [level for level in levels if not set(_bounds(level)) <= known.keys()]
    if missing:
        there = ", ".join(f"{level:g}" for level in trained_levels(known))
        together = ", ".join(f"{level:g}" for level in sorted({*levels, *trained_levels(known)}))
        raise InvalidInput(
            f"the version was not trained for level {missing[0]:g}; it has {there or 'none'}. "
            f"Train it with level=[{together}]"
        )
    return [known[quantile] for quantile in quantiles_of_levels(levels) if quantile in known]


def trained_levels(quantiles: Iterable[float]) -> list[float]:
    """The levels whose both bounds are among the quantiles."""
    rounded = {round(quantile, DIGITS) for quantile in quantiles}
    return sorted(
        round(100 * (1 - 2 * low), 4) for low in rounded if low < 0.5 and round(1 - low, DIGITS) in rounded
    )


def level_names(levels: Sequence[float] | None, quantiles: Mapping[str, object]) -> dict[str, str]:
    """Columns such as `lo-80` and `hi-80` -> the quantile's name; all that there are, without `levels`."""
    by_value = {round(float(name), DIGITS): name for name in quantiles}
    chosen = sorted(trained_levels(by_value) if levels is None else levels)
    columns: dict[str, str] = {}
    for level in reversed(chosen):
        columns[f"lo-{level:g}"] = by_value[_bounds(level)[0]]
    for level in chosen:
        columns[f"hi-{level:g}"] = by_value[_bounds(level)[1]]
    return columns


def _bounds(level: float) -> tuple[float, float]:
    low = round((100 - level) / 200, DIGITS)
    return low, round(1 - low, DIGITS)
