"""Fields on a page, and what was entered in them."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement
from starlette.concurrency import run_in_threadpool

from app.page.calls import CallRefused
from app.page.files import ReceivedFile
from app.page.forms.file_input import FileInput
from app.page.forms.schemas import FieldKind, FieldSpec, parse_list

MAX_FILE_BYTES = 40 << 20  # of a file in an instance: in base64 a third more
UNSET = ""  # the choice of what the service takes by default


@dataclass
class FormFields:
    """The fields of a form; what was left as it was is not sent."""

    specs: list[FieldSpec] = field(default_factory=list)
    _elements: dict[str, Any] = field(default_factory=dict)
    _initial: dict[str, Any] = field(default_factory=dict)

    def add(self, specs: Iterable[FieldSpec], defaults: Mapping[str, Any] = {}) -> None:
        """Show fields; `defaults` say what the service takes where nothing is entered."""
        for spec in specs:
            default = defaults.get(spec.name, spec.default)
            element = _WIDGETS[spec.kind](spec, default)
            self.specs.append(spec)
            self._elements[spec.name] = element
            self._initial[spec.name] = getattr(element, "value", None)

    def fill(self, values: Mapping[str, Any], files: Mapping[str, ReceivedFile] = {}) -> None:
        """Enter an instance: values and files in the fields of these names, nothing in the others."""
        for spec in self.specs:
            element = self._elements[spec.name]
            if isinstance(element, FileInput):
                element.take(files.get(spec.name))
            else:
                value = values.get(spec.name)
                element.set_value(self._initial[spec.name] if value is None else _shown(spec, value))

    async def values(self) -> dict[str, Any]:
        """What was entered; raises `CallRefused` where that cannot be."""
        entered: dict[str, Any] = {}
        for spec in self.specs:
            element = self._elements[spec.name]
            if isinstance(element, FileInput):
                if element.file is not None:
                    entered[spec.name] = await run_in_threadpool(_encode_file, spec, element.file.path)
            elif element.value not in (None, UNSET) and (
                element.value != self._initial[spec.name] or spec.required
            ):
                entered[spec.name] = _parse(spec, element.value)
            elif spec.required:
                raise _invalid(spec, "is required")
        return entered


def _encode_file(spec: FieldSpec, path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _invalid(spec, f"may have at most {MAX_FILE_BYTES:,} bytes here")
        return base64.b64encode(path.read_bytes()).decode()
    except FileNotFoundError:  # it was here for longer than files are kept
        raise _invalid(spec, "is here no more: choose it again") from None


def _invalid(spec: FieldSpec, detail: str) -> CallRefused:
    fault = {"pointer": f"/{spec.name}", "detail": detail}
    return CallRefused(
        {"status": 422, "title": "Not sent", "detail": f"{spec.title} {detail}.", "errors": [fault]}
    )


def _parse(spec: FieldSpec, value: Any) -> Any:
    try:
        match spec.kind:
            case FieldKind.INTEGER:
                return int(value) if float(value).is_integer() else int(str(value))
            case FieldKind.LIST:
                return parse_list(value, numbers=spec.of_numbers)
            case FieldKind.JSON:
                return json.loads(value)
            case FieldKind.CHOICE | FieldKind.SWITCH:
                return json.loads(value)
            case _:
                return value
    except (ValueError, RecursionError) as error:
        raise _invalid(spec, f"cannot be read: {error}") from error


def _shown(spec: FieldSpec, value: Any) -> Any:
    """A value as its field holds it."""
    if value is None:
        return None
    match spec.kind:
        case FieldKind.LIST:
            return ", ".join("null" if item is None else str(item) for item in value)
        case FieldKind.JSON | FieldKind.CHOICE | FieldKind.SWITCH:
            return json.dumps(value, ensure_ascii=False)
        case FieldKind.LINE | FieldKind.TEXT:
            return str(value)
        case _:
            return value


def _hint(spec: FieldSpec, default: Any) -> str:
    text = spec.description
    if default is not None and spec.kind not in (FieldKind.CHOICE, FieldKind.SWITCH):
        text = f"{text} Default: {_shown(spec, default)}".strip()
    return text


def _with_hint(element: ValueElement[Any], spec: FieldSpec, default: Any) -> ValueElement[Any]:
    element.props["hint"] = _hint(spec, default)
    element.props("outlined dense bottom-slots").classes("field")
    return element


def _choice(spec: FieldSpec, default: Any) -> ValueElement[Any]:
    choices = [True, False] if spec.kind is FieldKind.SWITCH else list(spec.choices)
    names = {True: "yes", False: "no"}
    shown = {
        json.dumps(choice): names.get(choice, str(choice)) if isinstance(choice, bool) else str(choice)
        for choice in choices
    }
    standard = "" if default is None else f": {names[default] if isinstance(default, bool) else default}"
    options = {UNSET: f"default{standard}"} | shown
    return _with_hint(ui.select(options, value=UNSET, label=spec.label), spec, default)


def _number(spec: FieldSpec, default: Any) -> ValueElement[Any]:
    step = 1 if spec.kind is FieldKind.INTEGER else None
    element = ui.number(spec.label, min=spec.minimum, max=spec.maximum, step=step)
    if default is not None:
        element.props["placeholder"] = str(default)
        element.props("stack-label")
    return _with_hint(element, spec, default)


def _line(spec: FieldSpec, default: Any) -> ValueElement[Any]:
    element = ui.input(spec.label)
    if default is not None:
        element.props["placeholder"] = str(_shown(spec, default))
        element.props("stack-label")
    return _with_hint(element, spec, default)


def _text(spec: FieldSpec, default: Any) -> ValueElement[Any]:
    element = ui.textarea(spec.label)
    element.props("autogrow")
    return _with_hint(element, spec, default).classes("wide")


def _list(spec: FieldSpec, default: Any) -> ValueElement[Any]:
    return _text(spec, default) if default is None and spec.required else _line(spec, default)


def _file(spec: FieldSpec, default: Any) -> FileInput:
    del default
    return FileInput(spec.label, spec.name.removesuffix("_base64"), note=spec.description)


_WIDGETS: dict[FieldKind, Callable[[FieldSpec, Any], Any]] = {
    FieldKind.CHOICE: _choice,
    FieldKind.SWITCH: _choice,
    FieldKind.INTEGER: _number,
    FieldKind.NUMBER: _number,
    FieldKind.LINE: _line,
    FieldKind.TEXT: _text,
    FieldKind.FILE: _file,
    FieldKind.LIST: _list,
    FieldKind.JSON: _text,
}
