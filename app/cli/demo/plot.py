"""A forecast against what came, drawn in the terminal with braille dots."""

from collections.abc import Sequence

from plotille import Figure
from rich.text import Text

WIDTH, HEIGHT = 62, 14  # with the axis 80 columns
Values = Sequence[float | None]


def forecast_plot(past: Values, actual: Values, median: Values, low: Values, high: Values) -> Text:
    """Draw the end of a series, its forecast with the band, and what really came as dots."""
    figure = Figure()
    figure.width, figure.height = WIDTH, HEIGHT
    figure.color_mode, figure.origin = "names", False
    figure.x_label, figure.y_label = "step", "value"
    figure.x_ticks_fkt = lambda at, _: f"{at:.0f}"
    figure.y_ticks_fkt = lambda at, _: f"{at:.4g}"
    figure.set_x_limits(min_=1 - len(past), max_=len(actual) + 1)
    for values, start, tint, marker in (
        (past, 1 - len(past), "white", None),
        (low, 1, "blue", None),
        (high, 1, "blue", None),
        (median, 1, "red", None),
        (actual, 1, "green", "•"),
    ):
        points = [(start + step, value) for step, value in enumerate(values) if value is not None]
        figure.plot(
            [x for x, _ in points],
            [y for _, y in points],
            lc=tint,
            marker=marker,
            interp=None if marker else "linear",
        )
    legend = "past (white), forecast (red), its 0.1 to 0.9 band (blue), • what came (green)"
    return Text.from_ansi(f"{figure.show()}\n{legend}", no_wrap=True, overflow="ignore")
