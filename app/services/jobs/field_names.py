"""Unknown fields of requests that submit jobs: where they belong, or which ones were meant."""

from collections.abc import Collection, Sequence
from typing import Any

from pydantic import BaseModel

from app.tasks import TASKS
from app.validation.names import unknown_name
from app.validation.schema_errors import UnknownField

OPTIONS = "options"  # the field of a job whose own fields are its task's


def unknown_field(model: type[BaseModel], task_name: Any) -> UnknownField:
    """A function that describes unknown fields of a request of this model, for a task where it names one."""

    def describe(place: Sequence[str | int]) -> str:
        *container, name = place
        here = ".".join(map(str, container))
        places = _fields(model, task_name)
        known = places.pop(here, ())
        elsewhere = {_describe(path): places[path] for path in places}
        if OPTIONS in model.model_fields and name not in {
            field for names in places.values() for field in names
        }:
            elsewhere |= _options_of_others(task_name)
        return unknown_name("field", str(name), known, elsewhere)

    return describe


def _options_of_others(task_name: Any) -> dict[str, Collection[str]]:
    """The options of all tasks but this one, by words for each task."""
    return {
        f"`{OPTIONS}` of {name}": task.options.model_fields.keys()
        for name, task in TASKS.items()
        if name != task_name
    }


def _describe(path: str) -> str:
    return f"`{path}`" if path else "the request itself"


def _fields(model: type[BaseModel], task_name: Any) -> dict[str, Collection[str]]:
    """The names of the fields of a request, by the path of the object that has them."""
    fields: dict[str, Collection[str]] = {"": model.model_fields.keys()}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            fields[name] = field.annotation.model_fields.keys()
    if OPTIONS in model.model_fields and isinstance(task_name, str) and task_name in TASKS:
        fields[OPTIONS] = TASKS[task_name].options.model_fields.keys()
    return fields
