"""What the service says of its tasks, as forms take it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import NotFound
from app.page.calls import CallRefused, path_of
from app.page.forms.schemas import FieldSpec, read_fields
from app.page.state import service
from app.typedefs import Json

PARTS = ("options", "network", "training")  # of a job
COMMON = {  # of the parts of all tasks, what most people want to choose
    "network": ("cell", "hidden_size", "layers"),
    "training": ("epochs", "learning_rate", "seed"),
}


@dataclass(frozen=True)
class TaskForms:
    """The fields of a task's jobs and requests."""

    name: str
    parts: Mapping[str, Sequence[FieldSpec]]  # of a job
    defaults: Mapping[str, Mapping[str, Any]]  # of the parts; those that depend on the data as texts
    instance: Sequence[FieldSpec]
    parameters: Sequence[FieldSpec]


async def load_task(name: str) -> TaskForms:
    """The forms of a task; raises `CallRefused`."""
    answer = await service().get(path_of("tasks"))
    task = next((task for task in answer["data"] if task["name"] == name), None)
    if task is None:
        error = NotFound(f"The service has no task {name}")
        raise CallRefused({"status": error.status, "title": "Unknown task", "detail": error.message})
    defaults: dict[str, dict[str, Any]] = {"options": {}}
    defaults |= {part: _joint([kind[part] for kind in task["defaults"]]) for part in PARTS[1:]}
    parts = {"options": read_fields(task["options"])}
    for part in PARTS[1:]:
        parts[part] = [field for field in read_fields(answer[part]) if field.name in defaults[part]]
    return TaskForms(
        name,
        parts,
        defaults,
        read_fields(task["instance"]),
        read_fields(task["parameters"]),
    )


def _joint(kinds: Sequence[Json]) -> dict[str, Any]:
    """The defaults of all kinds of data; of those that differ the values of each."""
    names = dict.fromkeys(name for kind in kinds for name in kind)
    joint: dict[str, Any] = {}
    for name in names:
        values = list(dict.fromkeys(str(kind[name]) for kind in kinds if name in kind))
        first = next(kind[name] for kind in kinds if name in kind)
        joint[name] = first if len(values) == 1 else " or ".join(values)
    return joint
