"""Try a model with an input of one's own."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from markupsafe import Markup
from nicegui import ui

from app.page import markup
from app.page.calls import CallRefused, ServiceCall, path_of
from app.page.forms.fields import FormFields
from app.page.forms.schemas import FieldKind, FieldSpec
from app.page.frame import action, details, heading, section, show_call, view
from app.page.predictions.show import show_prediction
from app.page.predictions.texts import written_text
from app.page.state import service
from app.page.views.aliases import STANDARD_ALIAS
from app.page.views.jobs import show_picture
from app.page.views.tasks import load_task
from app.typedefs import Json

STREAM, ATTENTION = "stream", "attention"  # parameters that the page sets by itself
OWN_PARAMETERS = (STREAM, ATTENTION)
MAX_EXAMPLE_CHARS = 200  # of a text that is filled in
TEXT_KINDS = (FieldKind.LINE, FieldKind.TEXT)
MAX_EXAMPLES = 20


@view("/models/{name}/try", "/models")
async def try_view(name: str, version: int | None = None) -> None:
    """A form for an instance, and the prediction."""
    api = service()
    model = await api.get(path_of("models", name))
    heading(
        f"Try {name}",
        "Give it an input; the alias production answers."
        if version is None
        else f"Version {version} answers.",
    )
    forms = await load_task(model["task"])
    number = version or model["aliases"].get(STANDARD_ALIAS) or model["latest_version"]
    trial = _Trial(name, version, forms.instance, forms.parameters)
    with section("Input"):
        rows = await _example_rows(name, number)
        trial.show(rows)
    trial.answer = ui.element("div").props("aria-live=polite")


async def _example_rows(name: str, number: int | None) -> list[Json]:
    """Examples of the data set that a version was trained on; none if it is gone."""
    if number is None:
        return []
    try:
        version = await service().get(path_of("models", name, "versions", number))
        preview = await service().get(path_of("datasets", version["dataset"], "preview"), limit=MAX_EXAMPLES)
    except CallRefused:
        return []
    rows: list[Json] = preview["data"]
    return rows


def example_instance(row: Json, specs: list[FieldSpec]) -> dict[str, Any]:
    """What a row of a data set's preview says for the fields of an instance."""
    values: dict[str, Any] = {spec.name: row[spec.name] for spec in specs if row.get(spec.name) is not None}
    if "start" in {spec.name for spec in specs} and row.get("timestamps"):
        values["start"] = str(row["timestamps"][0])
    texts = [spec.name for spec in specs if spec.kind in TEXT_KINDS and spec.required]
    if not values and texts:
        first = next((value for value in row.values() if isinstance(value, str)), "")
        values[texts[0]] = first[:MAX_EXAMPLE_CHARS]
    return values


def shortened(row: Json) -> str:
    """That an example is only a part of what the data set has, and what follows; empty if it is whole."""
    if not row.get("truncated"):
        return ""
    length, filled = row.get("length"), len(row.get("values") or ())
    if not isinstance(length, int) or not row.get("timestamps"):
        return "The preview has this example in part only: its beginning is filled in."
    last = row["timestamps"][-1]
    return (
        f"The first {filled:,} of {length:,} steps are filled in, up to {last}: a forecast begins there, "
        "before the series ends. For what follows its end, add the other steps, or predict the data set."
    )


class _Trial:
    """The fields of an instance and of the parameters, and what is done with them."""

    answer: ui.element

    def __init__(self, model: str, version: int | None, instance: Any, parameters: Any) -> None:
        self._model, self._query = model, "" if version is None else f"?version={version}"
        self._specs: list[FieldSpec] = list(instance)
        self._own = {spec.name for spec in parameters if spec.name in OWN_PARAMETERS}
        self._parameters = [spec for spec in parameters if spec.name not in OWN_PARAMETERS]
        self._instance_fields, self._parameter_fields = FormFields(), FormFields()

    def show(self, rows: list[Json]) -> None:
        """Build the form; the rows may be filled in as examples."""
        main = [spec for spec in self._specs if spec.required or spec.kind in (*TEXT_KINDS, FieldKind.FILE)]
        with ui.element("div").classes("fields"):
            self._instance_fields.add(main)
        self._show_examples(rows)
        if rest := [spec for spec in self._specs if spec not in main]:
            with details("More of the input"), ui.element("div").classes("fields"):
                self._instance_fields.add(rest)
        if self._parameters:
            with details("Parameters"), ui.element("div").classes("fields"):
                self._parameter_fields.add(self._parameters)
        self._problems = ui.element("div").props("aria-live=assertive")
        action("Predict", self._predict, self._problems)
        action("Explain", self._explain, self._problems, kind="secondary")

    def _show_examples(self, rows: list[Json]) -> None:
        examples = {
            index: values for index, row in enumerate(rows) if (values := example_instance(row, self._specs))
        }
        if not examples:
            return

        def fill(index: int | None) -> None:
            if index is not None:
                self._instance_fields.fill(examples[index])
                note.set_text(shortened(rows[index]))

        names = {index: _brief(values) for index, values in examples.items()}
        chooser = ui.select(
            names, label="Fill in an example of its data set", on_change=lambda event: fill(event.value)
        )
        chooser.props("outlined dense").classes("field wide")
        note = ui.label("").classes("note").props("role=status")

    async def _body(self, *, is_streamed: bool) -> Json:
        body: Json = {"instances": [await self._instance_fields.values()]}
        parameters = await self._parameter_fields.values()
        if ATTENTION in self._own:
            parameters[ATTENTION] = True
        if is_streamed and STREAM in self._own:
            parameters[STREAM] = True
        return body | ({"parameters": parameters} if parameters else {})

    async def _predict(self) -> None:
        self.answer.clear()  # of the input before: it is none of this one's, whatever comes
        body = await self._body(is_streamed=True)
        call = ServiceCall("POST", path_of("models", self._model, "predict") + self._query, body)
        with self.answer:
            with section("Prediction") as part:
                place = ui.element("div")
            show_call(replace(call, body=await self._body(is_streamed=False)))
        try:
            is_streamed = body.get("parameters", {}).get(STREAM)
            answer = await (self._stream(call, place) if is_streamed else service().make(call))
        except CallRefused:
            part.delete()
            raise
        place.clear()
        with place:
            markup.show(Markup("<p class='note'>Version {} answered.</p>").format(answer["version"]))
            for prediction in answer["predictions"]:
                show_prediction(prediction, body["instances"][0])

    async def _stream(self, call: ServiceCall, place: ui.element) -> Json:
        """Show the text while it is written; returns the whole answer."""
        prompt = call.body["instances"][0].get("prompt", "") if call.body else ""
        with place:
            written = markup.show(Markup(""))
        text = ""
        events: AsyncIterator[tuple[str, Json]] = service().events(call)
        async for name, data in events:
            if name == "error":
                raise CallRefused(data)
            if name == "done":
                return data
            text += data.get("text", "")
            written.set_content(written_text(prompt, text))
        raise CallRefused({"status": 0, "title": "No answer", "detail": "The answer ended early."})

    async def _explain(self) -> None:
        self.answer.clear()
        body = await self._body(is_streamed=False)
        call = ServiceCall("POST", path_of("models", self._model, "explain") + self._query, body)
        separator = "&" if self._query else "?"
        response = await service().send("POST", f"{call.path}{separator}format=svg", json=body)
        with self.answer:
            with section("Explanation", "Which steps of the input the prediction depended on."):
                show_picture(response.text, "The influence of each step, and what the gates did")
            show_call(call)


def _brief(values: Mapping[str, Any]) -> str:
    text = ", ".join(str(markup.cell(value).striptags()) for value in values.values())
    return text if len(text) <= 80 else text[:80] + "…"
