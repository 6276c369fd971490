"""Try a model with an input of one's own."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup
from nicegui import ui

from app.page import markup
from app.page.calls import STANDARD_ALIAS, CallRefused, ServiceCall, path_of
from app.page.forms.fields import FormFields
from app.page.forms.instances import MAX_STEPS, TEXT_KINDS, SeriesColumns, example_instance
from app.page.forms.microphone import LiveTranscript
from app.page.forms.schemas import FieldKind, FieldSpec
from app.page.frame import action, details, heading, section, show_call, view
from app.page.predictions.show import show_prediction
from app.page.predictions.texts import written_text
from app.page.state import service
from app.page.views.examples import StoredExample, example_names, load_example, needs_loading
from app.page.views.jobs import show_picture
from app.page.views.tasks import load_task
from app.typedefs import Json

RECORDING = "audio_base64"  # the field of an instance that a microphone fills
STREAM, ATTENTION = "stream", "attention"  # parameters that the page sets by itself
OWN_PARAMETERS = (STREAM, ATTENTION)
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
        trial.show(await _trained_on(name, number))
    trial.answer = ui.element("div").props("aria-live=polite")


@dataclass(frozen=True)
class _TrainedOn:
    """The data set of a version: its first examples, and the columns that are read of series."""

    dataset: str
    rows: Sequence[Json]
    columns: SeriesColumns | None


async def _trained_on(name: str, number: int | None) -> _TrainedOn | None:
    """The data set that a version was trained on; None if it is gone."""
    if number is None:
        return None
    api = service()
    try:
        version = await api.get(path_of("models", name, "versions", number))
        preview = await api.get(path_of("datasets", version["dataset"], "preview"), limit=MAX_EXAMPLES)
        dataset = await api.get(path_of("datasets", version["dataset"]))
    except CallRefused:
        return None
    is_series = any("timestamps" in row for row in preview["data"])
    columns = SeriesColumns.of(version, dataset["summary"]) if is_series else None
    return _TrainedOn(version["dataset"], preview["data"], columns)


def shortened(row: Json, reason: str = "") -> str:
    """That an example could be filled in only in part, and what follows; empty if it is whole."""
    if not row.get("truncated"):
        steps = len(row["values"]) if "timestamps" in row else 0
        return f"The last {MAX_STEPS:,} of {steps:,} steps are filled in." if steps > MAX_STEPS else ""
    length, filled = row.get("length"), len(row.get("values") or ())
    if not isinstance(length, int) or not row.get("timestamps"):
        return f"Only the beginning of this example is filled in. {reason}".strip()
    return (
        f"The first {filled:,} of {length:,} steps are filled in, up to {row['timestamps'][-1]}: "
        f"a forecast begins there, before the series ends. {reason}"
    ).strip()


class _Trial:
    """The fields of an instance and of the parameters, and what is done with them."""

    answer: ui.element

    def __init__(self, model: str, version: int | None, instance: Any, parameters: Any) -> None:
        self._model, self._query = model, "" if version is None else f"?version={version}"
        self._specs: list[FieldSpec] = list(instance)
        self._own = {spec.name for spec in parameters if spec.name in OWN_PARAMETERS}
        self._parameters = [spec for spec in parameters if spec.name not in OWN_PARAMETERS]
        self._instance_fields, self._parameter_fields = FormFields(), FormFields()

    def show(self, data: _TrainedOn | None) -> None:
        """Build the form; examples of the data set may be filled in."""
        main = [spec for spec in self._specs if spec.required or spec.kind in (*TEXT_KINDS, FieldKind.FILE)]
        examples = ui.element("div")
        with ui.element("div").classes("fields"):
            self._instance_fields.add(main)
            if STREAM in self._own and any(spec.name == RECORDING for spec in main):
                LiveTranscript(path_of("models", self._model, "listen") + self._query, self._show_heard)
        if data is not None and data.rows:
            with examples:
                self._show_examples(data)
        if rest := [spec for spec in self._specs if spec not in main]:
            with details("More of the input"), ui.element("div").classes("fields"):
                self._instance_fields.add(rest)
        if self._parameters:
            with details("Parameters"), ui.element("div").classes("fields"):
                self._parameter_fields.add(self._parameters)
        self._problems = ui.element("div").props("aria-live=assertive")
        action("Predict", self._predict, self._problems)
        action("Explain", self._explain, self._problems, kind="secondary")

    def _show_examples(self, data: _TrainedOn) -> None:
        """A choice among the examples of a data set, which fills the fields."""

        async def fill(index: int | None) -> None:
            if index is None:
                return
            example, reason = StoredExample(data.rows[index]), ""
            if needs_loading(example.row, has_file=has_file):
                try:
                    example = await load_example(data.dataset, index)
                except CallRefused as error:
                    reason = str(error)
            if chooser.value == index:  # nothing else was chosen meanwhile
                values = example_instance(example.row, self._specs, data.columns)
                self._instance_fields.fill(values, example.files)
                note.set_text(shortened(example.row, reason))

        has_file = any(spec.kind is FieldKind.FILE for spec in self._specs)
        chooser = ui.select(
            example_names(data.rows),
            label="Fill in an example of its data set",
            on_change=lambda event: fill(event.value),
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

    def _show_heard(self, prediction: Json) -> None:
        self.answer.clear()
        with self.answer, section("What was heard"):
            show_prediction(prediction, {})

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
