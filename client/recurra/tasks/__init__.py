"""What data of each task look like in Python; a task that this version does not know takes files and JSON."""

from difflib import get_close_matches

from recurra.errors import InvalidInput
from recurra.tasks.contract import TaskInputs
from recurra.tasks.files import FileTask
from recurra.tasks.forecasting import Forecasting
from recurra.tasks.media import MEDIA_TASKS
from recurra.tasks.texts import TEXT_TASKS

TASKS: dict[str, TaskInputs] = {task.name: task for task in (Forecasting(), *TEXT_TASKS, *MEDIA_TASKS)}


def task_named(name: str) -> TaskInputs:
    """The task of a name; of an unknown one what takes files and JSON."""
    return TASKS.get(name) or FileTask(name)


def requested_task(name: str) -> TaskInputs:
    """The same of a name that a user wrote; raises `InvalidInput` if it is close to that of another task."""
    close = get_close_matches(name, TASKS, 1) if name not in TASKS else []
    if close:
        raise InvalidInput(f"there is no task {name}; did you mean {close[0]}?")
    return task_named(name)
