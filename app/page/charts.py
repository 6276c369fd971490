"""Charts: options for ECharts, in the colors that the page has when they are drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from app.typedefs import Json

Values = Sequence[float | None]

COLORS = ("--series-1", "--series-2", "--series-3", "--series-4")
MAX_POINTS = 4_000  # of a line
SYMBOL_POINTS = 60  # fewer points than these are marked


def color_of(name: str) -> str:
    """The script that gives a color of the page."""
    return f"recurra.color('{name}')"


def line_chart(
    description: str,
    steps: Sequence[Any],
    lines: Mapping[str, Values],
    *,
    band: tuple[Values, Values] | None = None,
    x_name: str = "",
    hidden: Sequence[str] = (),
    plain: Sequence[str] = (),
) -> ui.echart:
    """Lines over common steps, and a band between two of its own; described to those who do not see it.

    Lines that are `hidden` are shown once their names in the legend are clicked; `plain` ones stand back.
    """
    options = line_options(steps, lines, band=band, x_name=x_name, hidden=hidden)
    for line in options["series"]:
        if line["name"] in plain:
            faint = {":color": color_of("--faint")}
            line.update(itemStyle=faint, lineStyle={**faint, "width": 1.5}, symbol="none")
    return _described(ui.echart(options, renderer="svg"), description)


def line_options(
    steps: Sequence[Any],
    lines: Mapping[str, Values],
    *,
    band: tuple[Values, Values] | None = None,
    x_name: str = "",
    hidden: Sequence[str] = (),
) -> Json:
    """The options of a chart of lines."""
    series = [_line(name, values, index) for index, (name, values) in enumerate(lines.items())]
    if band is not None:
        series += _band(*band)
    ink, line = {":color": color_of("--ink")}, {":color": color_of("--line")}
    axis = {"axisLabel": ink, "axisLine": {"lineStyle": line}}
    return {
        "animation": False,
        "grid": {"left": 8, "right": 44, "top": 36, "bottom": 30, "containLabel": True},
        "legend": {
            "data": list(lines), "textStyle": ink, "type": "scroll", "top": 0,
            "selected": dict.fromkeys(hidden, False),
        },
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {
            **axis, "type": "category", "data": [str(step) for step in steps],
            "name": x_name, "nameLocation": "middle", "nameGap": 28, "nameTextStyle": ink,
        },
        "yAxis": {
            **axis, "type": "value", "scale": True,
            "splitLine": {"lineStyle": line},
        },
        "series": series,
    }  # fmt: skip


def _line(name: str, values: Values, index: int) -> Json:
    color = {":color": color_of(COLORS[index % len(COLORS)])}
    return {
        "name": name,
        "type": "line",
        "data": list(values[:MAX_POINTS]),
        "showSymbol": len(values) <= SYMBOL_POINTS,
        "symbol": ("circle", "rect", "triangle", "diamond")[index % 4],
        "symbolSize": 5,
        "lineStyle": {**color, "width": 2, "type": ("solid", "dashed", "dotted")[index % 3]},
        "itemStyle": color,
    }


def _band(low: Values, high: Values) -> list[Json]:
    """The area between two lines: the upper one is stacked on the lower one as a difference."""
    width = [None if a is None or b is None else b - a for a, b in zip(low, high, strict=True)]
    common: Json = {
        "type": "line", "stack": "band", "symbol": "none", "silent": True, "lineStyle": {"opacity": 0},
        "stackStrategy": "all", "tooltip": {"show": False},
    }  # fmt: skip
    area = {"areaStyle": {":color": color_of("--series-1"), "opacity": 0.2}}
    return [{**common, "name": "from", "data": list(low)}, {**common, "name": "to", "data": width, **area}]


def bar_chart(description: str, values: Mapping[str, float], *, limit: float | None = None) -> ui.echart:
    """Bars from the first at the top to the last, with their values."""
    names = list(values)[::-1]
    options: Json = {
        "animation": False,
        "grid": {"left": 8, "right": 56, "top": 8, "bottom": 8, "containLabel": True},
        "xAxis": {"type": "value", "max": limit, "show": False},
        "yAxis": {
            "type": "category", "data": names,
            "axisLabel": {":color": color_of("--ink"), "width": 160, "overflow": "truncate"},
        },
        "series": [{
            "type": "bar", "data": [values[name] for name in names], "barMaxWidth": 22,
            "itemStyle": {":color": color_of("--series-1")},
            "label": {"show": True, "position": "right", ":color": color_of("--ink"),
                      ":formatter": "(bar) => bar.value.toPrecision(3)"},
        }],
    }  # fmt: skip
    chart = _described(ui.echart(options, renderer="svg"), description)
    return chart.style(f"height: {max(80, 30 * len(names) + 24)}px")


def _described(chart: ui.echart, description: str) -> ui.echart:
    chart.props["role"], chart.props["aria-label"] = "img", description
    return chart.classes("chart")
