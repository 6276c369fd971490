"""What a job has made: a version, a leaderboard, predictions, or a comparison of versions."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from nicegui import ui

from app.page import markup
from app.page.calls import CallRefused, path_of
from app.page.frame import details, section, show_refusal
from app.page.predictions.forecasts import show_forecast
from app.page.predictions.labels import confusion_matrix
from app.page.predictions.show import show_prediction
from app.page.predictions.tags import tagged_words
from app.page.state import service
from app.page.views.metrics import explanations, verdict
from app.states import EVALUATE, SWEEP, Status
from app.typedefs import Json

MAX_LINES, MAX_LINE_BYTES = 2_000, 16 << 20  # of a result that are read
TRAINING_KIND = "train"
MAKING_VERSIONS = (TRAINING_KIND, SWEEP)  # kinds of jobs
MAX_SHOWN = 12  # examples
MAX_MATRIX_LABELS = 30
MAX_TABLE_ROWS = 20
MAX_TITLE_CHARS = 80
MAX_SERIES = 500  # to choose from


async def show_result(job: Json) -> None:
    """What there is of a job's result."""
    if job["kind"] == SWEEP:
        await _show_leaderboard(job)
    if job["status"] != Status.SUCCEEDED:
        return
    if job["kind"] in MAKING_VERSIONS and job.get("model_version") is not None:
        link = markup.link(
            f"/models/{job['model']}/versions/{job['model_version']}",
            f"version {job['model_version']} of {job['model']}",
        )
        attempt = markup.link(f"/models/{job['model']}/try?version={job['model_version']}", "try it")
        markup.show(Markup("<p class='done'>It made {}: look at it, or {}.</p>").format(link, attempt))
        await _show_comparison(job)
    elif job["kind"] == EVALUATE:
        await show_evaluation(job)
    elif job["kind"] not in MAKING_VERSIONS:
        await _show_predictions(job)


async def _show_comparison(job: Json) -> None:
    try:
        version = await service().get(path_of("models", job["model"], "versions", job["model_version"]))
    except CallRefused as error:
        show_refusal(error)
        return
    show_metrics(version)


def show_metrics(version: Json) -> None:
    """The metrics of a version beside the baseline's, whether it is better, and what they mean."""
    if sentence := verdict(version["metrics"], version["baseline"]):
        markup.show(Markup("<p>{}</p>").format(sentence))
    markup.show(metrics_table(version))
    markup.show(explanations(version["metrics"]))


def metrics_table(version: Json) -> Markup:
    """The metrics of a version that are numbers, beside the baseline's."""
    baseline = version["baseline"]
    rows = [
        (name, value, baseline.get(name))
        for name, value in version["metrics"].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    caption = "On data that the network did not see, beside the baseline without one"
    return markup.table(("Metric", "The network", "The baseline"), rows, caption, numeric=True)


async def _show_leaderboard(job: Json) -> None:
    sweep = await service().get(path_of("sweeps", job["id"]))
    rows = [_trial_row(trial) for trial in sweep["leaderboard"]]
    better = "less" if sweep["direction"] == "minimize" else "more"
    with section("Leaderboard", f"By {sweep['metric']} on validation data; {better} is better."):
        markup.show(
            markup.table(("Rank", "Settings", sweep["metric"], "Seconds", "State", "Runs"), rows, "Trials")
        )


def _trial_row(trial: Json) -> tuple[Any, ...]:
    runs = (markup.link(f"/jobs/{run['job']}", f"seed {run['seed']}") for run in trial["seeds"])
    settings = ", ".join(f"{name} {value}" for name, value in markup.flatten(trial["parameters"]).items())
    figures = (_spread(trial), trial["seconds"], trial["status"])
    return (trial["rank"] or "–", settings, *figures, Markup(" ").join(runs))


def _spread(trial: Json) -> str:
    if trial["metric"] is None:
        return ""
    spread = "" if trial["spread"] is None else f" ± {markup.number(trial['spread'])}"
    return markup.number(trial["metric"]) + spread


async def _show_predictions(job: Json) -> None:
    lines = await service().lines(path_of("jobs", job["id"], "result"), MAX_LINES, MAX_LINE_BYTES)
    with section(
        "Predictions", f"The first {min(len(lines), MAX_SHOWN)}; GET /v1/jobs/{job['id']}/result has all."
    ):
        for line in lines[:MAX_SHOWN]:
            with details(example_title(line)):
                if "prediction" in line:
                    show_prediction(line["prediction"], {})
                else:
                    markup.show(markup.facts(line["error"].items()))


def example_title(line: Json) -> str:
    """Which example a line of a batch prediction is about, and its answer in brief."""
    prediction = line.get("prediction") or {}
    briefs = (line.get("item_id"), prediction.get("label"), prediction.get("text"))
    words = prediction.get("tokens") or ()
    brief = next((text for text in briefs if text), " ".join(words)) if prediction else "has an error"
    text = str(brief)[:MAX_TITLE_CHARS] + ("…" if len(str(brief)) > MAX_TITLE_CHARS else "")
    return f"Example {line['index'] + 1}" + (f": {text}" if text else "")


async def show_evaluation(job: Json) -> None:
    """The figures of an evaluation with their intervals, and examples beside what was right."""
    metrics = job["metrics"]
    figures = {f"version {name}": own for name, own in metrics["versions"].items()} | metrics["baselines"]
    names = list(dict.fromkeys(name for own in figures.values() for name in own))
    rows = [(name, *(_figure(own.get(name)) for own in figures.values())) for name in names]
    note = Markup("{} examples of {}; in brackets 95 % intervals.").format(
        f"{metrics['examples']:,}", markup.link(f"/datasets/{job['dataset']}", job["dataset"])
    )
    with section("Evaluation", note):
        markup.show(markup.table(("Metric", *figures), rows, "Versions and baselines", numeric=True))
        if metrics["differences"]:
            compared = [name for name in names if name in metrics["higher_is_better"]]
            paired = [
                (f"{one['of']} – {one['minus']}", *(_figure(one["metrics"].get(name)) for name in compared))
                for one in metrics["differences"]
            ]
            caption = "Paired differences: where the interval has no zero, the two differ"
            markup.show(markup.table(("Difference", *compared), paired, caption, numeric=True))
    lines = await service().lines(path_of("jobs", job["id"], "result"), MAX_LINES, MAX_LINE_BYTES)
    with section("Examples", "Predictions beside what was right."):
        _show_lines([line for line in lines if "prediction" in line and "version" in line])


def _figure(figure: Json | None) -> str:
    if not isinstance(figure, dict) or figure.get("value") is None:
        return ""
    value = markup.number(figure["value"])
    if figure.get("low") is None:
        return value
    return f"{value} [{markup.number(figure['low'])}, {markup.number(figure['high'])}]"


def _show_lines(lines: Sequence[Json]) -> None:
    """Examples by the shape of what was right: a series, a label, tags, or a text."""
    if not lines:
        markup.show(Markup("<p class='note'>There are no lines of examples.</p>"))
        return
    first = lines[0]
    if "median" in first["prediction"]:
        _show_series(lines)
    elif "label" in first["prediction"]:
        _show_labels(lines)
    elif "tags" in first["prediction"]:
        for line in lines[:MAX_SHOWN]:
            markup.show(
                tagged_words(
                    line["prediction"].get("tokens") or line["actual"],
                    line["prediction"]["tags"],
                    line["actual"],
                )
            )
    elif "text" in first["prediction"] and isinstance(first["actual"], str):
        rows = [
            (line["example"], line["prediction"]["text"], line["actual"], line["errors"])
            for line in lines[:MAX_TABLE_ROWS]
        ]
        markup.show(markup.table(("Example", "Prediction", "What is right", "Errors"), rows, "Examples"))
    else:
        rows = [
            (line["example"], line["prediction"], line["actual"], line["errors"])
            for line in lines[:MAX_TABLE_ROWS]
        ]
        markup.show(markup.table(("Example", "Prediction", "What is right", "Errors"), rows, "Examples"))


def _show_series(lines: Sequence[Json]) -> None:
    """A choice among forecasts, and the chart of the chosen one."""

    def draw(index: int) -> None:
        shown.clear()
        with shown:
            show_forecast(lines[index]["prediction"], {}, lines[index]["actual"])

    names = {index: _series_name(line) for index, line in enumerate(lines[:MAX_SERIES])}
    chooser = ui.select(names, value=0, label="Series", on_change=lambda event: draw(event.value))
    chooser.props("outlined dense").classes("field")
    shown = ui.element("div")
    draw(0)


def _series_name(line: Json) -> str:
    name = line["prediction"].get("item_id") or f"series {line['example']}"
    return f"{name}, window {line['window'] + 1}, version {line['version']}"


def _show_labels(lines: Sequence[Json]) -> None:
    pairs: Counter[tuple[str, str]] = Counter((line["actual"], line["prediction"]["label"]) for line in lines)
    labels = sorted({label for pair in pairs for label in pair})[:MAX_MATRIX_LABELS]
    markup.show(confusion_matrix(labels, [[pairs[actual, label] for label in labels] for actual in labels]))
    wrong = [line for line in lines if line["actual"] != line["prediction"]["label"]][:MAX_TABLE_ROWS]
    rows = [(line["example"], line["prediction"]["label"], line["actual"], _score(line)) for line in wrong]
    if rows:
        markup.show(markup.table(("Example", "Taken for", "Is", "Probability"), rows, "Mistakes"))


def _score(line: Json) -> Any:
    scores = line["prediction"].get("scores") or {}
    return scores.get(line["prediction"]["label"])
