"""The form of a training or of a search over settings, made from the task's schemas."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from nicegui import ui

from app.page import markup
from app.page.calls import CallRefused, ServiceCall, path_of
from app.page.forms.fields import FormFields
from app.page.forms.schemas import FieldSpec, parse_value
from app.page.frame import action, details, show_call
from app.page.state import service
from app.page.views.tasks import COMMON, PARTS, TaskForms
from app.typedefs import Json

SEARCH_ROWS = 3
RANGE = re.compile(r"\s*([-+.\de]+)\s*\.\.\s*([-+.\de]+)\s*(log)?\s*")
MAX_NAME_CHARS = 48
NO_SETTING = ""


def show_training(dataset: Json, forms: TaskForms) -> None:
    """A form that submits a job, or a sweep, on a data set."""
    form = _TrainingForm(dataset, forms)
    form.show()


class _TrainingForm:
    """The fields of a job; what is left empty the service chooses."""

    def __init__(self, dataset: Json, forms: TaskForms) -> None:
        self._dataset, self._forms = dataset, forms
        self._parts = {part: FormFields() for part in PARTS}
        self._search: list[tuple[ui.select, ui.input]] = []
        self._limits: dict[str, ui.number] = {}

    def show(self) -> None:
        with ui.element("div").classes("fields"):
            self._name = ui.input("Model", value=model_name(self._dataset["name"]))
            self._name.props("outlined dense").classes("field")
            self._add("options", [spec for spec in self._forms.parts["options"] if spec.required])
            for part, names in COMMON.items():
                self._add(part, [spec for spec in self._forms.parts[part] if spec.name in names])
        with details("More options"):
            for part in PARTS:
                rest = [spec for spec in self._forms.parts[part] if not self._is_shown(part, spec)]
                if rest:
                    markup.show(Markup("<h3>{}</h3>").format(part.capitalize()))
                    with ui.element("div").classes("fields"):
                        self._add(part, rest)
        problems = ui.element("div").props("aria-live=assertive")
        action("Train", lambda: self._submit(problems), problems)
        with details("Try several settings (a sweep)"):
            self._show_search()

    def _is_shown(self, part: str, spec: FieldSpec) -> bool:
        return spec.required or spec.name in COMMON.get(part, ())

    def _add(self, part: str, specs: Sequence[FieldSpec]) -> None:
        self._parts[part].add(specs, self._forms.defaults[part])

    def _show_search(self) -> None:
        note = (
            "Each combination is trained with several seeds; the best becomes the version. "
            "Values have commas between, such as lstm, gru; a range is 0.001 .. 0.01 log."
        )
        markup.show(Markup("<p class='note'>{}</p>").format(note))
        names = {NO_SETTING: "–"} | {
            f"{part}.{spec.name}": f"{part}.{spec.name}" for part in PARTS for spec in self._forms.parts[part]
        }
        for row in range(SEARCH_ROWS):
            with ui.element("div").classes("fields"):
                setting = ui.select(names, value=NO_SETTING, label=f"Setting {row + 1}", with_input=False)
                values = ui.input(f"Values {row + 1}")
                for element in (setting, values):
                    element.props("outlined dense").classes("field")
                self._search.append((setting, values))
        with ui.element("div").classes("fields"):
            for name, label, value in (("seeds", "Seeds", None), ("max_trials", "Most trials", None)):
                limit = ui.number(label, value=value, min=1, step=1)
                self._limits[name] = limit.props("outlined dense").classes("field narrow")
        problems = ui.element("div").props("aria-live=assertive")
        action("Start the sweep", lambda: self._submit_sweep(problems), problems, kind="secondary")

    async def _body(self) -> Json:
        body: Json = {"task": self._forms.name, "dataset": self._dataset["id"], "model": self._name.value}
        for part, fields in self._parts.items():
            if values := await fields.values():
                body[part] = values
        return body

    async def _submit(self, problems: ui.element) -> None:
        await _send(ServiceCall("POST", path_of("jobs"), await self._body()), problems)

    async def _submit_sweep(self, problems: ui.element) -> None:
        search = {
            setting.value: read_search(values.value or "")
            for setting, values in self._search
            if setting.value != NO_SETTING
        }
        if not search:
            fault = {"pointer": "/search", "detail": "choose at least one setting and its values"}
            raise CallRefused(
                {"status": 422, "title": "Not sent", "detail": "Nothing to search", "errors": [fault]}
            )
        body = await self._body() | {"search": search}
        body |= {name: int(field.value) for name, field in self._limits.items() if field.value}
        await _send(ServiceCall("POST", path_of("sweeps"), body), problems)


async def _send(call: ServiceCall, problems: ui.element) -> None:
    """Submit a job and show it; the call of one that is refused is shown as commands."""
    try:
        job = await service().make(call)
    except CallRefused:
        with problems:
            show_call(call)
        raise
    ui.navigate.to(f"/jobs/{job['id']}")


def read_search(text: str) -> Any:
    """The values of a setting in a search: a list, or a range."""
    if match := RANGE.fullmatch(text):
        ends: Mapping[str, Any] = {"min": parse_value(match[1]), "max": parse_value(match[2])}
        return {**ends, "log": True} if match[3] else dict(ends)
    return [parse_value(value.strip()) for value in text.split(",") if value.strip()]


def model_name(name: str) -> str:
    """A name for a model that is trained on a file of this name."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.rsplit(".", 1)[0].lower()).strip("-")
    return plain[:MAX_NAME_CHARS] or "model"
