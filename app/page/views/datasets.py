"""Data sets: the list, and one as it was understood, with what can be done with it."""

from collections.abc import Sequence

from markupsafe import Markup
from nicegui import ui

from app.page import charts, markup
from app.page.calls import MAX_LISTED, ServiceCall, path_of
from app.page.frame import action, confirmed_action, details, heading, section, show_call, view
from app.page.state import service
from app.page.views.training import show_training
from app.typedefs import Json

MAX_PREVIEWED = 20  # of a preview
MAX_DRAWN = 6  # series
LENGTHY = ("values", "timestamps", "covariates", "splits")  # of a series, which is drawn
HIDDEN = ("truncated",)


@view("/datasets", "/datasets")
async def dataset_list() -> None:
    """All data sets."""
    heading("Data")
    datasets = await service().entries(path_of("datasets"), MAX_LISTED)
    if not datasets:
        markup.show(Markup("<p>There are no data sets yet. {}</p>").format(markup.link("/", "Upload a file")))
        return
    rows = [
        (markup.link(f"/datasets/{row['id']}", row["name"]), row["task"], row["format"],
         markup.byte_size(row["bytes"]), markup.moment(row["created_at"]))
        for row in datasets
    ]  # fmt: skip
    markup.show(markup.table(("Name", "Task", "Format", "Size", "Uploaded"), rows, "Data sets, newest first"))


@view("/datasets/{dataset_id}", "/datasets")
async def dataset_view(dataset_id: str) -> None:
    """One data set."""
    api = service()
    dataset = await api.get(path_of("datasets", dataset_id))
    heading(dataset["name"], f"A data set for {dataset['task']}, read as {dataset['format']}.")
    for warning in dataset["warnings"]:
        markup.show(Markup("<p class='warning'>{}</p>").format(warning))
    preview = await api.get(path_of("datasets", dataset_id, "preview"), limit=MAX_PREVIEWED)
    with section("As it was understood"):
        _show_preview(preview)
        with details("In figures"):
            facts = {"size": markup.byte_size(dataset["bytes"])} | markup.flatten(dataset["summary"])
            markup.show(markup.facts(facts.items()))
    summary = dataset["summary"]
    if summary.get("trainable", True):
        with section("Train a model"):
            await show_training(dataset)
    else:
        markup.show(
            Markup("<p class='warning'>It can be {}, not trained on: {}</p>").format(
                "predicted and evaluated" if summary.get("answers") else "predicted", summary.get("reason")
            )
        )
    with section("Predict it as a whole", "A job that predicts each example; the result is a file."):
        await _show_batch(dataset)
    with section("Delete it"):
        _show_removal(dataset)


def _show_preview(preview: Json) -> None:
    rows: Sequence[Json] = preview["data"]
    for row in [row for row in rows if _is_series(row)][:MAX_DRAWN]:
        lines = {"values": row["values"]}
        numeric = {name: column for name, column in row.get("covariates", {}).items() if _is_numeric(column)}
        lines |= dict(list(numeric.items())[:3])
        name = row.get("item_id") or "series"
        length = row.get("length", len(row["values"]))
        note = f"{name}: the first {len(row['values'])} of {length:,} steps"
        markup.show(Markup("<h3>{}</h3>").format(note))
        charts.line_chart(note, row["timestamps"], lines)
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in HIDDEN]
    body = [tuple(row.get(name) for name in columns) for row in rows]
    more = " and more" if preview["has_more"] else ""
    if body:
        numbered = [(index + 1, *row) for index, row in enumerate(body)]
        caption = f"Examples: {len(rows)}{more}"
        markup.show(markup.table(("", *columns), numbered, caption))


def _is_series(row: Json) -> bool:
    return "timestamps" in row and _is_numeric(row.get("values") or ())


def _is_numeric(column: Sequence[object]) -> bool:
    return bool(column) and all(value is None or isinstance(value, int | float) for value in column)


async def _show_batch(dataset: Json) -> None:
    models = [
        model
        for model in await service().entries(path_of("models"), MAX_LISTED)
        if model["task"] == dataset["task"]
    ]
    if not models:
        markup.show(Markup("<p class='note'>There is no model of this task yet.</p>"))
        return
    names = [model["name"] for model in models]
    with ui.element("div").classes("fields"):
        chosen = ui.select(names, value=names[0], label="Model").props("outlined dense").classes("field")
    problems = ui.element("div")

    async def submit() -> None:
        call = ServiceCall(
            "POST", path_of("models", chosen.value, "batch-predictions"), {"dataset": dataset["id"]}
        )
        job = await service().make(call)
        ui.navigate.to(f"/jobs/{job['id']}")

    action("Predict", submit, problems, kind="secondary")


def _show_removal(dataset: Json) -> None:
    problems = ui.element("div")
    call = ServiceCall("DELETE", path_of("datasets", dataset["id"]))

    async def remove() -> None:
        await service().make(call)
        ui.navigate.to("/datasets")

    question = f"Delete the data set {dataset['name']} for good? Models that were trained on it stay."
    confirmed_action("Delete the data set", question, remove, problems)
    show_call(call)
