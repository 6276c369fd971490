"""Tasks of texts, tokens and readings: lists, or columns of a frame."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recurra.errors import InvalidInput, Json
from recurra.frames import Frame, as_frame, is_frame
from recurra.results import parse_generated, parse_label, parse_tags, parse_translation
from recurra.tasks.contract import (
    SPLIT,
    PredictionInputs,
    PreparedFile,
    Schema,
    as_list,
    finish_list,
    one_answer_each,
    single,
)
from recurra.tasks.frame_answers import PREDICTION, cell_of, finish_frame
from recurra.tasks.jsonl import write_jsonl
from recurra.tasks.places import place_of_instance, place_of_line

TEXT, VALUES, LABEL, TOKENS, TAGS, SOURCE, TARGET = (
    "text", "values", "label", "tokens", "tags", "source", "target",
)  # fmt: skip


@dataclass(frozen=True)
class TextTask:
    """The data of one task whose examples are lines of JSON."""

    name: str
    source: str  # canonical column of what is asked with
    answer: str | None  # canonical column of what is learned
    field: str  # of an instance
    parse: Callable[[Json], Any]
    fields: Mapping[str, str]  # further columns of a frame's predictions -> field of a prediction
    text_field: str | None = None  # of an instance that is a plain text, if another one than `field`
    list_field: str | None = None  # of an instance that is a list, and of its column, if another one

    @property
    def roles(self) -> Mapping[str, str]:
        """Each column under its own name."""
        return {name: name for name in (self.source, self.answer, SPLIT) if name is not None}

    def write(self, data: Any, answers: Any, columns: Mapping[str, str], folder: Path) -> PreparedFile:
        """Examples as JSON Lines, with the frame's own names of columns."""
        if is_frame(data):
            return self._write_frame(as_frame(data), answers, columns, folder)
        if isinstance(data, str) and answers is None and self.answer is not None:
            raise InvalidInput(f"there is no file {data}")
        listed = [data] if single(data) else as_list(data)
        if answers is None and self.answer == TARGET and all(_is_pair(one) for one in listed):
            listed, answers = [source for source, _ in listed], [target for _, target in listed]
        if answers is not None and self.answer is None:
            raise InvalidInput(f"{self.name} learns from texts alone, without answers")
        answered = one_answer_each(listed, answers, "examples")
        rows = [one if isinstance(one, dict) else {self._column(one): as_json(one)} for one in listed]
        if self.answer is not None and answered:
            rows = [row | {self.answer: value} for row, value in zip(rows, answered, strict=True)]
        return write_jsonl(folder, rows)

    def options(self, options: Json) -> Json:
        """The same options."""
        return options

    def parameters(self, parameters: Json, schema: Schema) -> Json:
        """The same parameters."""
        del schema
        return parameters

    def inputs(
        self, data: Any, columns: Mapping[str, str], schema: Schema, parameters: Json
    ) -> PredictionInputs:
        """One text, list of tokens or sequence of readings an instance; or a column of a frame."""
        del parameters
        if is_frame(data):
            frame = as_frame(data)
            column = columns.get(self.source, schema.column(self.source))
            instances = [self._instance(cell) for cell in _cells(frame, column, self.source)]
            named = {PREDICTION: self.predicted, **self.fields}
            cells = {name: cell_of(of) for name, of in named.items()}
            return PredictionInputs(instances, finish_frame(frame, cells), place_of_instance(frame))
        if data is None:
            raise InvalidInput(f"{self.name} needs something to answer")
        alone = single(data)
        instances = [self._instance(one) for one in ([data] if alone else as_list(data))]
        return PredictionInputs(instances, finish_list(self.parse, alone=alone))

    def _write_frame(
        self, frame: Frame, answers: Any, columns: Mapping[str, str], folder: Path
    ) -> PreparedFile:
        if answers is not None:
            raise InvalidInput(f"the answers to a frame are a column of it: {self.answer}=…")
        names = {canonical: columns.get(canonical, canonical) for canonical in self.roles.values()}
        present = [column for column in names.values() if column in frame.names]
        cells = {column: _cells(frame, column, column) for column in present}
        _cells(frame, names[self.source], self.source)
        rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
        rows = [{name: cell for name, cell in row.items() if cell is not None} for row in rows]
        renamed = {name: column for name, column in names.items() if name != column and column in present}
        place = place_of_line(frame, renamed)
        return replace(write_jsonl(folder, rows, renamed), place=place)

    def _instance(self, one: Any) -> Any:
        if isinstance(one, dict):
            return one
        if isinstance(one, str):
            return {self.text_field or self.field: one}
        return {self.list_field or self.field: as_json(one)}

    def _column(self, one: Any) -> str:
        return self.source if isinstance(one, str) or self.list_field is None else self.list_field

    @property
    def predicted(self) -> str:
        """The field of a prediction that answers."""
        return {LABEL: LABEL, TAGS: TAGS}.get(self.answer or "", TEXT)


def _is_pair(one: Any) -> bool:
    return isinstance(one, tuple | list) and len(one) == 2 and all(isinstance(text, str) for text in one)


def _cells(frame: Frame, column: str, role: str) -> list[Any]:
    if column not in frame.names:
        there = ", ".join(frame.names[:20])
        raise InvalidInput(f"the frame has no column {column}; name it with {role}=…. It has: {there}")
    return frame.cells(column)


def as_json(value: Any) -> Any:
    """Arrays and tuples as lists, at any depth."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [as_json(one) for one in value]
    return value


TEXT_TASKS = (
    TextTask("classification", TEXT, LABEL, TEXT, parse_label, {"probability": "scores"}, list_field=VALUES),
    TextTask("tagging", TOKENS, TAGS, TOKENS, parse_tags, {}, text_field=TEXT),
    TextTask("generation", TEXT, None, "prompt", parse_generated, {}),
    TextTask("translation", SOURCE, TARGET, TEXT, parse_translation, {"score": "score"}),
)
