"""The first examples of a data set: texts or readings, with their labels."""

from typing import NotRequired

from app.arrays import Array, Arrays
from app.tasks.classification.reading import LABEL, LABELS, VALUES
from app.tasks.preview import PreviewRows, RowBounds, SplitPreviewRow, clip_text, shown_steps
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT, split_name
from app.tasks.shared.text_checks import TEXT
from app.typedefs import Json


class ClassificationPreviewRow(SplitPreviewRow):
    """A text, or the first steps of a sequence of readings, of which `length` counts all."""

    text: NotRequired[str]
    values: NotRequired[list[list[float]]]
    length: NotRequired[int]
    label: str | None


def preview_examples(arrays: Arrays, bounds: RowBounds) -> PreviewRows:
    """The examples with what the file says of each."""
    labels, numbers = Texts.from_arrays(arrays, LABELS), arrays[LABEL]
    content = Ragged.from_arrays(arrays, TEXT if TEXT in arrays else VALUES)

    def row(index: int) -> Json:
        number = int(numbers[index])
        label = labels[number] if number >= 0 else None
        shown = (_text if TEXT in arrays else _readings)(content[index], bounds)
        return {**shown, "label": label, "split": split_name(int(arrays[SPLIT][index]))}

    return PreviewRows(len(numbers), row)


def _text(encoded: Array, bounds: RowBounds) -> Json:
    text, truncated = clip_text(encoded, bounds)
    return {"text": text, "truncated": truncated}


def _readings(readings: Array, bounds: RowBounds) -> Json:
    """Some of the readings (time, channels)."""
    count = shown_steps(len(readings), readings.shape[1], bounds)
    return {"values": readings[:count].tolist(), "length": len(readings), "truncated": count < len(readings)}
