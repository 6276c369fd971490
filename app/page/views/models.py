"""Models: the list, one with its versions and aliases, and one version."""

from contextlib import suppress
from typing import Any

from markupsafe import Markup
from nicegui import ui

from app.page import markup
from app.page.calls import MAX_LISTED, CallRefused, ServiceCall, path_of
from app.page.frame import action, details, heading, section, show_call, view
from app.page.predictions.labels import confusion_matrix
from app.page.state import service
from app.page.views.aliases import show_aliases
from app.page.views.held_back import show_held_back
from app.page.views.jobs import job_table, show_picture
from app.page.views.results import show_evaluation, show_metrics
from app.states import Status
from app.typedefs import Json

MAX_COMPARED = 8  # versions
MAX_EVALUATIONS = 10
MAX_CLASSES = 50
FIT_NOTE = (
    "The figures are of a network that was trained on the {measured}; the one that answers was then trained "
    "on {published}."
)


@view("/models", "/models")
async def model_list() -> None:
    """All models."""
    heading("Models")
    models = await service().entries(path_of("models"), MAX_LISTED)
    if not models:
        markup.show(Markup("<p>There are no models yet. {}</p>").format(markup.link("/", "Upload a file")))
        return
    rows = [
        (markup.link(f"/models/{model['name']}", model["name"]), model["task"], model["latest_version"],
         ", ".join(f"{alias} → {version}" for alias, version in model["aliases"].items()),
         markup.link(f"/models/{model['name']}/try", "try it") if model["aliases"] else "")
        for model in models
    ]  # fmt: skip
    markup.show(markup.table(("Name", "Task", "Newest version", "Aliases", ""), rows, "Models"))


@view("/models/{name}", "/models")
async def model_view(name: str) -> None:
    """One model: its versions side by side, and who answers."""
    api = service()
    model = await api.get(path_of("models", name))
    versions = await api.entries(path_of("models", name, "versions"), MAX_LISTED)
    heading(name, f"A model for {model['task']}.")
    if model["aliases"]:
        markup.show(Markup("<p>{}</p>").format(markup.link(f"/models/{name}/try", "Try it")))
    with section("Versions"):
        _show_versions(name, versions)
    with section(
        "Aliases", "Who answers calls: one version, or several with shares; a shadow computes unseen."
    ):
        await show_aliases(name, [version["version"] for version in versions])
    with section("Jobs"):
        markup.show(
            job_table(await api.entries(path_of("jobs"), MAX_LISTED, model=name), "Jobs of this model")
        )


def _show_versions(name: str, versions: list[Json]) -> None:
    if not versions:
        markup.show(Markup("<p class='note'>There are no versions yet.</p>"))
        return
    compared = versions[:MAX_COMPARED]
    head = [
        markup.link(f"/models/{name}/versions/{version['version']}", f"version {version['version']}")
        for version in compared
    ]
    numbers = [_numbers(version["metrics"]) for version in compared]
    names = list(dict.fromkeys(metric for own in numbers for metric in own))
    facts: list[tuple[Any, ...]] = [
        ("trained", *(markup.moment(version["created_at"]) for version in compared)),
        ("cell", *(version["network"].get("cell") for version in compared)),
        ("parameters", *(version["parameters"] for version in compared)),
        (
            "data set",
            *(markup.link(f"/datasets/{version['dataset']}", version["dataset"]) for version in compared),
        ),
    ]
    rows = [*((metric, *(own.get(metric) for own in numbers)) for metric in names), *facts]
    markup.show(markup.table(("", *head), rows, "Versions side by side, the newest first", numeric=True))
    different = {version["dataset"] for version in compared}
    if len(different) > 1:
        note = "They were measured on different data sets: compare them by an evaluation on one."
        markup.show(Markup("<p class='note'>{}</p>").format(note))


def _numbers(metrics: Json) -> Json:
    return {
        name: value
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


@view("/models/{name}/versions/{number}", "/models")
async def version_view(name: str, number: int) -> None:
    """One version: how good it is, and what it does."""
    api = service()
    version = await api.get(path_of("models", name, "versions", number))
    heading(f"{name}, version {number}", f"Trained for {version['task']} by {version['job']}.")
    markup.show(Markup("<p>{} · {} · {}</p>").format(
        markup.link(f"/models/{name}/try?version={number}", "Try it"),
        markup.link(f"/jobs/{version['job']}", "How it was trained"),
        markup.link(f"/models/{name}", "All versions"),
    ))  # fmt: skip
    with section("How good it is"):
        show_metrics(version)
        _show_nested(version["metrics"])
    await show_held_back(version)
    with section("Evaluations", "On data that have the answers; figures come with 95 % intervals."):
        await _show_evaluations(version)
    with suppress(CallRefused):
        picture = await api.text(path_of("jobs", version["job"], "diagnostics"), format="svg")
        with details("How far back the network reaches"):
            show_picture(picture, "The norm of the gradient by lag, of some epochs")
    with details("Settings"):
        names = ("network", "options", "parameters", "bytes", "sha256", "created_at")
        markup.show(markup.facts(markup.flatten({key: version[key] for key in names}).items()))


def _show_nested(metrics: Json) -> None:
    """Metrics that are tables: by label, by step ahead, a confusion matrix and the like."""
    fit = metrics.get("fit") or {}
    if fit.get("published") != fit.get("measured"):
        markup.show(Markup("<p class='note'>{}</p>").format(FIT_NOTE.format(**fit)))
    for name, value in metrics.items():
        if name == "fit":
            continue
        title = name.replace("_", " ")
        if isinstance(value, dict) and {"labels", "rows"} <= value.keys():
            markup.show(confusion_matrix(value["labels"], value["rows"]))
        elif isinstance(value, dict) and value and all(isinstance(inner, dict) for inner in value.values()):
            columns = list(dict.fromkeys(column for inner in value.values() for column in inner))
            rows = [
                (label, *(inner.get(column) for column in columns))
                for label, inner in list(value.items())[:MAX_CLASSES]
            ]
            markup.show(markup.table((title, *columns), rows, title.capitalize(), numeric=True))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            columns = list(dict.fromkeys(column for inner in value for column in inner))
            rows = [tuple(inner.get(column) for column in columns) for inner in value[:MAX_CLASSES]]
            markup.show(markup.table(columns, rows, title.capitalize(), numeric=True))
        elif isinstance(value, dict | list | str) and value:
            flat = markup.flatten({title: value})
            markup.show(markup.facts(flat.items()))


async def _show_evaluations(version: Json) -> None:
    api, name, number = service(), version["model"], version["version"]
    jobs = await api.entries(path_of("models", name, "versions", number, "evaluations"), MAX_EVALUATIONS)
    done = [job for job in jobs if job["status"] == Status.SUCCEEDED]
    if jobs:
        markup.show(job_table(jobs, "Evaluations, newest first"))
    if done:
        await show_evaluation(done[0])
    datasets = [
        row for row in await api.entries(path_of("datasets"), MAX_LISTED) if row["task"] == version["task"]
    ]
    names = {
        row["id"]: row["name"]
        for row in datasets
        if row["summary"].get("answers", row["summary"].get("trainable", True))
    }
    if not names:
        return
    problems = ui.element("div").props("aria-live=assertive")
    with ui.element("div").classes("fields"):
        first = version["dataset"] if version["dataset"] in names else next(iter(names))
        dataset = ui.select(names, value=first, label="Evaluate on").props("outlined dense").classes("field")
        windows = ui.number("Windows (of forecasts)", min=1, max=100, step=1)
        windows.props("outlined dense").classes("field narrow").set_visibility(
            "horizon" in version["options"]
        )

    async def submit() -> None:
        body: Json = {"dataset": dataset.value, "versions": [number]}
        if windows.value:
            body["windows"] = int(windows.value)
        call = ServiceCall("POST", path_of("models", name, "evaluations"), body)
        try:
            job = await service().make(call)
        except CallRefused:
            with problems:
                show_call(call)
            raise
        ui.navigate.to(f"/jobs/{job['id']}")

    action("Evaluate", submit, problems)
