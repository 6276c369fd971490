"""Predictions on a terminal: styles and charts."""

import pytest

from app.cli.demo.render import STYLES, draw_chart, print_prediction
from app.tasks.demonstration import Chart, Curve, StyledText


def chart(*curves: Curve) -> Chart:
    return Chart("The next 3 steps", curves, "past (white), • what came (green)")


def test_a_chart_fits_a_terminal_and_bears_missing_values() -> None:
    past = [None, *(float(n) for n in range(40))]
    drawn = draw_chart(
        chart(
            Curve(past, -40, "white"),
            Curve([39.0, 40.0, 40.0], 1, "blue"),
            Curve([41.0, 42.0, 43.0], 1, "red"),
            Curve([41.0, None, 43.0], 1, "green", dots=True),
        )
    )
    lines = drawn.plain.splitlines()
    assert max(map(len, lines)) <= 85
    assert drawn.plain.count("•") == 3  # two values, and the legend's
    assert len(lines) < 24


def test_texts_are_one_paragraph_and_charts_have_titles(capsys: pytest.CaptureFixture[str]) -> None:
    print_prediction(
        [StyledText("pos 0.93 ", "right"), StyledText("a joy"), chart(Curve([1.0, 2.0], 0, "red"))]
    )
    shown = capsys.readouterr().out
    assert shown.startswith("pos 0.93 a joy\n\nThe next 3 steps\n")


def test_every_style_has_a_look() -> None:
    assert STYLES.keys() == set(StyledText.__annotations__["style"].__args__)
