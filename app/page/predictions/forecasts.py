"""A forecast behind the past that it goes on from, with a band between its outermost quantiles."""

from collections.abc import Sequence

from markupsafe import Markup

from app.page import charts, markup
from app.page.predictions.dates import past_stamps
from app.typedefs import Json

PAST_HORIZONS, MIN_PAST_STEPS, MAX_PAST_STEPS = 4, 40, 400  # of the past, that are drawn
MEDIAN = "0.5"


def show_forecast(prediction: Json, instance: Json, actual: Sequence[float | None] = ()) -> None:
    """The chart of a forecast, what came instead if that is known, and the figures."""
    median, quantiles = prediction["median"], prediction["quantiles"]
    drawn = min(MAX_PAST_STEPS, max(MIN_PAST_STEPS, PAST_HORIZONS * len(median)))
    past = list(instance.get("values") or ())[-drawn:]
    levels = sorted(quantiles, key=float)
    outer = [quantiles[levels[0]], quantiles[levels[-1]]] if len(levels) > 1 else None
    ahead = [*prediction.get("timestamps", ())] or [f"+{step + 1}" for step in range(len(median))]
    steps = axis_steps(instance, prediction.get("timestamps") or (), len(median), drawn=len(past))
    gap: list[float | None] = [None] * len(past)
    joint = [*gap[:-1], past[-1]] if past else []  # so that the forecast begins where the past ends
    lines: dict[str, charts.Values] = {"median": [*joint, *median]}
    if actual:
        lines["actual"] = [*joint, *actual]
    if past:
        lines["past"] = [*past, *([None] * len(median))]
    band = None if outer is None else ([*joint, *outer[0]], [*joint, *outer[1]])
    name = prediction.get("item_id") or "the series"
    description = f"Forecast of {name}, {len(median)} steps: {_described(median)}"
    charts.line_chart(description, steps, lines, band=band, plain=["past"])
    if outer is not None:
        note = f"The band is from the quantile {levels[0]} to {levels[-1]}."
        markup.show(Markup("<p class='note'>{}</p>").format(note))
    _show_figures(prediction, ahead, levels, actual)


def axis_steps(instance: Json, stamps: Sequence[str | int], ahead: int, *, drawn: int) -> list[str]:
    """The names of the `drawn` last steps of the past and of those ahead: all are dates, or none is."""
    values, start = instance.get("values") or (), instance.get("start")
    dates = None if start is None or not stamps else past_stamps(start, len(values), stamps)
    if stamps and (dates is not None or not drawn):
        return [*(dates or ())[-drawn or None :], *map(str, stamps)]
    return [*(str(step - drawn + 1) for step in range(drawn)), *(f"+{step + 1}" for step in range(ahead))]


def _described(values: Sequence[float]) -> str:
    low, high = markup.number(min(values)), markup.number(max(values))
    first, last = markup.number(values[0]), markup.number(values[-1])
    return f"the median goes from {first} to {last}, between {low} and {high}"


def _show_figures(
    prediction: Json, ahead: Sequence[object], levels: Sequence[str], actual: Sequence[float | None]
) -> None:
    columns: dict[str, Sequence[object]] = {}
    if "mean" in prediction:
        columns["mean"] = prediction["mean"]
    columns["median"] = prediction["median"]
    columns |= {level: prediction["quantiles"][level] for level in levels if level != MEDIAN}
    if actual:
        columns["actual"] = actual
    rows = [
        (str(step), *(values[index] if index < len(values) else None for values in columns.values()))
        for index, step in enumerate(ahead)
    ]
    table = markup.table(("Step", *columns), rows, "The forecast in numbers", numeric=True)
    markup.show(Markup("<details><summary>In numbers</summary>{}</details>").format(table))
