"""Predictions on a terminal: styles and charts."""

import pytest

from app.cli.demo.render import STYLES, draw_chart, print_prediction
from app.cli.demo.run import SAMPLES, read_questions
from app.tasks import TASKS
from app.tasks.contract import Task
from app.tasks.demonstration import Chart, Curve, StyledText
from tests.app.cli.demo.test_run import right_prediction


def chart(*curves: Curve) -> Chart:
    return Chart("The next 3 steps", curves, "past (white), • what came (green)")


def test_a_chart_fits_a_terminal_and_bears_missing_values() -> None:
    past = [None, *(float(n) for n in range(40))]
    drawn = draw_chart(
        chart(
            Curve(past, -40, "white"),
            Curve([10.0, 10.0, 15.0], 1, "blue", "·"),
            Curve([30.0, 20.0, 25.0], 1, "red", "="),
            Curve([41.0, None, 43.0], 1, "green", "•"),
        )
    )
    lines = drawn.plain.splitlines()
    assert max(map(len, lines)) <= 85
    assert drawn.plain.count("•") == 3  # two values, and the legend's
    assert len(lines) < 24
    assert (drawn.plain.count("="), drawn.plain.count("·")) == (3, 3)  # as many as there are values


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_curves_of_several_kinds_are_told_apart_without_colors(task: Task) -> None:
    """Curves of one kind share a marker; where there are several, the legend names each."""
    if task.demo.render is None:
        return
    question = read_questions(task, SAMPLES / task.demo.sample)[0]
    for part in task.demo.render(question, right_prediction(question)):
        if isinstance(part, Chart):
            kinds = {(curve.color, curve.marker) for curve in part.curves}
            markers = {marker for _, marker in kinds}
            assert len(markers) in {1, len(kinds)}
            assert len(markers) == 1 or all(marker in part.legend for marker in markers if marker)


def test_texts_are_one_paragraph_and_charts_have_titles(capsys: pytest.CaptureFixture[str]) -> None:
    print_prediction(
        [StyledText("pos 0.93 ", "right"), StyledText("a joy"), chart(Curve([1.0, 2.0], 0, "red"))]
    )
    shown = capsys.readouterr().out
    assert shown.startswith("pos 0.93 a joy\n\nThe next 3 steps\n")


def test_every_style_has_a_look() -> None:
    assert STYLES.keys() == set(StyledText.__annotations__["style"].__args__)
