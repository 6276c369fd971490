"""Predictions on a terminal: styled text, and charts drawn with braille dots."""

from collections.abc import Sequence

from plotille import Figure
from rich.text import Text

from app.cli.console import output
from app.tasks.demonstration import Chart, StyledText

CHART_COLUMNS, CHART_LINES = 62, 14  # without the axes, with which the chart has 80 columns
STYLES = {"plain": "", "right": "green", "wrong": "red", "mark": "bold cyan", "aside": "dim"}


def print_prediction(parts: Sequence[StyledText | Chart]) -> None:
    """Print a prediction that its task has rendered."""
    text = Text.assemble(*((part.text, STYLES[part.style]) for part in parts if isinstance(part, StyledText)))
    if text.plain:
        output().print(text, soft_wrap=True)
    for part in parts:
        if isinstance(part, Chart):
            output().print(f"\n{part.title}", style="bold")
            output().print(draw_chart(part))


def draw_chart(chart: Chart) -> Text:
    """A chart with its legend as lines of text."""
    figure = Figure()
    figure.width, figure.height = CHART_COLUMNS, CHART_LINES
    figure.color_mode, figure.origin = "names", False
    figure.x_label, figure.y_label = "step", "value"
    figure.x_ticks_fkt = lambda value, _: f"{value:.0f}"
    figure.y_ticks_fkt = lambda value, _: f"{value:.4g}"
    ends = [curve.start + len(curve.values) for curve in chart.curves]
    figure.set_x_limits(min_=min(curve.start for curve in chart.curves), max_=max(ends))
    for curve in chart.curves:
        points = [(curve.start + step, y) for step, y in enumerate(curve.values) if y is not None]
        figure.plot(
            [x for x, _ in points],
            [y for _, y in points],
            lc=curve.color,
            marker=curve.marker,
            interp=None if curve.marker else "linear",
        )
    return Text.from_ansi(f"{figure.show()}\n{chart.legend}", no_wrap=True, overflow="ignore")
