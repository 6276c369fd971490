"""The file in a prediction, such as music, written to disk."""

import base64
from pathlib import Path
from typing import Any

import typer

from app.tasks import TASKS
from app.typedefs import Json


def binary_output(task_name: str) -> str:
    """The one field of a task's predictions that is a file; raises `BadParameter` where there is none."""
    task = TASKS.get(task_name)
    names = [field.name for field in task.tensor_outputs if field.binary] if task is not None else []
    if len(names) != 1:
        raise typer.BadParameter(f"--output takes a model whose predictions are files, not {task_name}")
    return names[0]


def write_output(path: Path, field: str, predictions: list[Any]) -> list[Json]:
    """Write the file in the only prediction; returns the prediction without it."""
    if len(predictions) != 1:
        raise typer.BadParameter(f"--output takes one instance, not {len(predictions)}")
    (prediction,) = predictions
    try:
        path.write_bytes(base64.b64decode(prediction[field]))
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}") from None
    return [{name: value for name, value in prediction.items() if name != field}]
