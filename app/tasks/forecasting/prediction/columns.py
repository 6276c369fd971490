"""A forecast as columns of a table, a row for each step: as data scientists have them."""

from typing import Any

from app.tasks.forecasting.reading.table import ID, TIME
from app.typedefs import Json

LEVEL_DIGITS = 6  # of a quantile
Bounds = tuple[list[float], list[float]]  # lower and upper, a value a step


def prediction_columns(record: Json, prediction: Json) -> dict[str, list[Any]]:
    """The id of a series, as its `record` has it, and its forecast: `mean`, `median`, `lo-80`, `hi-80` ….

    The intervals are those that were asked for, or between the quantiles that are as far from the median.
    """
    steps = len(prediction["mean"])
    columns: dict[str, list[Any]] = {ID: [record[ID]] * steps} if ID in record else {}
    columns[TIME] = prediction.get("timestamps") or list(range(1, steps + 1))
    columns |= {"mean": prediction["mean"], "median": prediction["median"]}
    bounds = _intervals(prediction)
    columns |= {f"lo-{level:g}": bounds[level][0] for level in sorted(bounds, reverse=True)}
    return columns | {f"hi-{level:g}": bounds[level][1] for level in sorted(bounds)}


def _intervals(prediction: Json) -> dict[float, Bounds]:
    """The bounds of central intervals by their levels in percent."""
    if "intervals" in prediction:
        intervals = prediction["intervals"].items()
        return {float(level): (bounds["lower"], bounds["upper"]) for level, bounds in intervals}
    quantiles = {round(float(name), LEVEL_DIGITS): values for name, values in prediction["quantiles"].items()}
    pairs = {low: round(1 - low, LEVEL_DIGITS) for low in quantiles if low < 0.5}
    return {
        round(100 * (high - low), 4): (quantiles[low], quantiles[high])
        for low, high in pairs.items()
        if high in quantiles
    }
