"""The demo of forecasting: two networks on weather, whose last days neither has been trained on."""

import csv
from collections import defaultdict
from pathlib import Path

from app.tasks.demonstration import Chart, Curve, Demo, Question, StyledText
from app.tasks.forecasting.reading.instances import read_instances
from app.tasks.source import Faults, Source
from app.typedefs import Json

HORIZON = 28  # days
HISTORY_SHOWN = 2 * HORIZON  # days
LEGEND = "line: the past, =: forecast, ·: its 0.1 to 0.9 band, •: what came"


def hold_out(sample: Path, target: Path) -> None:
    """Write a long table without the last `HORIZON` rows of every series."""
    series: dict[str, list[list[str]]] = defaultdict(list)
    with sample.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    for row in rows:
        series[row[header.index("unique_id")]].append(row)
    with target.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *(row for group in series.values() for row in group[:-HORIZON])])


def questions(source: Source, faults: Faults) -> list[Question]:
    """The first series of the whole sample without its last days, which are the right answer."""
    series = read_instances(source, faults)[0]
    past = {name: values[:-HORIZON] for name, values in series.get("past", {}).items()}
    instance = series | {"values": series["values"][:-HORIZON]} | ({"past": past} if past else {})
    brief = instance | {"values": instance["values"][-HISTORY_SHOWN:]}
    if past:
        brief["past"] = {name: values[-HISTORY_SHOWN:] for name, values in past.items()}
    del brief["start"]  # it is the start of the whole series
    return [Question(instance, {"actual": series["values"][-HORIZON:]}, brief)]


def render(question: Question, prediction: Json) -> list[StyledText | Chart]:
    """The end of the series, the forecast with its band, and the values that came."""
    past = question.instance["values"][-HISTORY_SHOWN:]
    curves = (
        Curve(past, 1 - len(past), "white"),
        Curve(prediction["quantiles"]["0.1"], 1, "blue", "·"),
        Curve(prediction["quantiles"]["0.9"], 1, "blue", "·"),
        Curve(prediction["mean"], 1, "red", "="),
        Curve(question.example["actual"], 1, "green", "•"),
    )
    return [Chart(f"The next {HORIZON} steps of {question.instance['item_id']}", curves, LEGEND)]


DEMO = Demo(
    sample="seattle_weather.csv",
    contents="{rows:,} days of weather; the last 28 are held out",
    baseline="the seasonal naive forecast",
    metrics={"smape": False, "mase": False},
    jobs={
        f"demo-{cell}": {
            "network": {"cell": cell},
            "training": {"epochs": 15, "seed": 7},
            "options": {"horizon": HORIZON},
        }
        for cell in ("gru", "lstm")
    },
    questions=questions,
    render=render,
    hold_out=hold_out,
    default=True,
)
