"""Answers to the rows of a frame, as more columns of it."""

from collections.abc import Callable, Mapping
from typing import Any

from recurra.errors import Json
from recurra.frames import Frame
from recurra.tasks.contract import Finish, warn

PREDICTION = "prediction"  # the first of the columns
Cell = Callable[[Json], Any]  # of a prediction


def finish_frame(frame: Frame, cells: Mapping[str, Cell]) -> Finish:
    """What adds these columns to the user's frame; warnings of the service become warnings of Python."""

    def finish(predictions: list[Json]) -> Any:
        warn(list(map(frame.row_name, range(len(predictions)))), predictions)
        columns = {name: [cell(prediction) for prediction in predictions] for name, cell in cells.items()}
        return frame.with_columns(columns)

    return finish


def cell_of(name: str) -> Cell:
    """A field of a prediction; of `scores` that of its label."""

    def cell(prediction: Json) -> Any:
        value = prediction.get(name)
        return value[prediction["label"]] if isinstance(value, dict) else value

    return cell
