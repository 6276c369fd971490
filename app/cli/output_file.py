"""The file in a prediction, such as music, written to disk."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from app.cli.console import notes
from app.cli.instances import binary_field
from app.tasks import TASKS
from app.typedefs import Json

Save = Callable[[list[Any]], list[Any]]


def output_writer(path: Path | None, task_of: Callable[[], str]) -> Save:
    """What writes the file in the only prediction to `path`, says so, and returns the prediction without it.

    Without a path it changes nothing. Raises `BadParameter` for a task whose predictions are no files.
    """
    if path is None:
        return list
    field = _binary_output(task_of())
    return lambda predictions: _write(path, field, predictions)


def _binary_output(task_name: str) -> str:
    """The one field of a task's predictions that is a file."""
    task = TASKS.get(task_name)
    name = None if task is None else binary_field(task.tensor_outputs)
    if name is None:
        raise typer.BadParameter(f"--output takes a model whose predictions are files, not {task_name}")
    return name


def _write(path: Path, field: str, predictions: list[Any]) -> list[Json]:
    if len(predictions) != 1:
        raise typer.BadParameter(f"--output takes one instance, not {len(predictions)}")
    (prediction,) = predictions
    try:
        count = path.write_bytes(base64.b64decode(prediction[field]))
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}") from None
    notes().print(f"{path}: {count:,} bytes", soft_wrap=True)
    return [{name: value for name, value in prediction.items() if name != field}]
