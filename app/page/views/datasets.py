"""Data sets: the list, and one as it was understood, with what can be done with it."""

from collections.abc import Sequence

from markupsafe import Markup
from nicegui import ui

from app.page import markup
from app.page.calls import MAX_LISTED, ServiceCall, path_of
from app.page.forms.schemas import FieldKind
from app.page.frame import action, confirmed_action, details, heading, section, show_call, view
from app.page.state import service
from app.page.views.examples import is_plain, needs_loading, show_examples
from app.page.views.tasks import load_task
from app.page.views.training import show_training
from app.typedefs import Json

MAX_PREVIEWED = 20  # of a preview
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
    forms = await load_task(dataset["task"])
    with section("As it was understood"):
        if preview["data"]:
            has_file = any(spec.kind is FieldKind.FILE for spec in forms.instance)
            rows = preview["data"]
            if not all(is_plain(row) and not needs_loading(row, has_file=has_file) for row in rows):
                await show_examples(dataset_id, rows, has_file=has_file)
            _show_table(preview)
        with details("In figures"):
            facts = {"size": markup.byte_size(dataset["bytes"])} | markup.flatten(dataset["summary"])
            markup.show(markup.facts(facts.items()))
    summary = dataset["summary"]
    if summary.get("trainable", True):
        with section("Train a model"):
            show_training(dataset, forms)
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


def _show_table(preview: Json) -> None:
    """The first examples side by side, without what is long."""
    rows: Sequence[Json] = preview["data"]
    names = dict.fromkeys(name for row in rows for name in row)
    hidden = (*HIDDEN, *LENGTHY) if "timestamps" in names else HIDDEN
    columns = [name for name in names if name not in hidden]
    numbered = [(index + 1, *(row.get(name) for name in columns)) for index, row in enumerate(rows)]
    more = " and more" if preview["has_more"] else ""
    markup.show(markup.table(("", *columns), numbered, f"Examples: {len(rows)}{more}"))


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
