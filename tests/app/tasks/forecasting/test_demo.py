"""The demo of forecasting holds the last days out, and draws the forecast of the days."""

from pathlib import Path

from app.cli.demo.run import SAMPLES, read_questions
from app.tasks import TASKS
from app.tasks.demonstration import Chart
from app.tasks.forecasting.demo import DEMO, HISTORY_SHOWN, HORIZON, hold_out, render

SAMPLE = SAMPLES / DEMO.sample


def test_the_last_steps_are_held_out(tmp_path: Path) -> None:
    hold_out(SAMPLE, tmp_path / "part.csv")
    whole, part = SAMPLE.read_text().splitlines(), (tmp_path / "part.csv").read_text().splitlines()
    assert part == whole[:-HORIZON]
    [question] = read_questions(TASKS["forecasting"], SAMPLE)
    assert [f"{value:g}" for value in question.example["actual"]] == [
        f"{float(line.split(',')[2]):g}" for line in whole[-HORIZON:]
    ]
    assert len(question.instance["values"]) == len(whole) - 1 - HORIZON
    assert question.brief["values"] == question.instance["values"][-HISTORY_SHOWN:]
    assert "start" not in question.brief


def test_covariates_end_with_the_values() -> None:
    [question] = read_questions(TASKS["forecasting"], SAMPLE)
    for instance in (question.instance, question.brief):
        assert all(len(values) == len(instance["values"]) for values in instance.get("past", {}).values())


def test_the_forecast_begins_where_the_past_ends() -> None:
    [question] = read_questions(TASKS["forecasting"], SAMPLE)
    actual = question.example["actual"]
    prediction = {"mean": actual, "quantiles": {"0.1": actual, "0.9": actual}}
    [chart] = render(question, prediction)
    assert isinstance(chart, Chart)
    past, *forecasts = chart.curves
    assert past.start + len(past.values) == 1
    assert {curve.start for curve in forecasts} == {1}
    assert question.instance["item_id"] in chart.title
