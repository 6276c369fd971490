"""What data of each task look like in Python; a task that this version does not know takes files and JSON."""

from recurra.tasks.contract import TaskInputs
from recurra.tasks.files import FileTask
from recurra.tasks.forecasting import Forecasting
from recurra.tasks.media import MEDIA_TASKS
from recurra.tasks.texts import TEXT_TASKS

TASKS: dict[str, TaskInputs] = {task.name: task for task in (Forecasting(), *TEXT_TASKS, *MEDIA_TASKS)}


def task_named(name: str) -> TaskInputs:
    """The task of a name; of an unknown one what takes files and JSON."""
    return TASKS.get(name) or FileTask(name)
