"""Tasks of files: recordings, clips and MIDI files, as paths or bytes."""

import base64
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurra.errors import InvalidInput, Json
from recurra.frames import as_frame, is_frame
from recurra.results import parse_label, parse_music, parse_transcript
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
from recurra.tasks.frame_answers import PREDICTION, Cell, cell_of, finish_frame
from recurra.tasks.places import place_of_instance

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class MediaTask:
    """The data of one task whose examples are files."""

    name: str
    source: str  # column of the files
    answer: str | None  # column of what is learned
    suffix: str  # of a file that is passed as bytes
    parse: Callable[[Json], Any]
    cells: Mapping[str, Cell]  # of a prediction, in a frame
    optional: bool = False  # whether an instance may be nothing

    @property
    def roles(self) -> Mapping[str, str]:
        """Each column under its own name."""
        return {name: name for name in (self.source, self.answer, SPLIT) if name is not None}

    def write(self, data: Any, answers: Any, columns: Mapping[str, str], folder: Path) -> PreparedFile:
        """An archive of the files, with a manifest."""
        names = {canonical: columns.get(canonical, canonical) for canonical in self.roles.values()}
        lines: dict[str, list[Any]] = {}
        if is_frame(data):
            frame = as_frame(data)
            lines = {name: frame.cells(column) for name, column in names.items() if column in frame.names}
            if self.source not in lines:
                raise InvalidInput(
                    f"the frame has no column {names[self.source]}; name it with {self.source}=…"
                )
            files = lines.pop(self.source)
        else:
            files = [data] if single(data) else as_list(data)
        if answers is not None:
            if self.answer is None:
                raise InvalidInput(f"{self.name} learns from files alone, without answers")
            lines[self.answer] = one_answer_each(files, answers, "files")
        path = folder / "files.zip"
        self._write_archive(path, files, lines)
        return PreparedFile(path, "zip")

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
        """One file an instance."""
        del schema, parameters
        if is_frame(data):
            frame = as_frame(data)
            column = columns.get(self.source, self.source)
            if column not in frame.names:
                raise InvalidInput(f"the frame has no column {column}; name it with {self.source}=…")
            instances = [self._instance(one) for one in frame.cells(column)]
            return PredictionInputs(instances, finish_frame(frame, self.cells), place_of_instance(frame))
        if data is None and not self.optional:
            raise InvalidInput(f"{self.name} needs a file to answer")
        alone = data is None or single(data)
        files = [{}] if data is None else [data] if alone else as_list(data)
        return PredictionInputs([self._instance(one) for one in files], finish_list(self.parse, alone=alone))

    def _instance(self, one: Any) -> Json:
        if isinstance(one, dict):
            return one
        return {f"{self.source}_base64": base64.b64encode(read_file(one)).decode()}

    def _write_archive(self, path: Path, files: list[Any], lines: Mapping[str, list[Any]]) -> None:
        members = list(self._members(files))
        manifest = list[str]()
        for row, name in enumerate(members):
            line = {self.source: name} | {column: cells[row] for column, cells in lines.items()}
            known = {column: cell for column, cell in line.items() if cell is not None}
            manifest.append(json.dumps(known, ensure_ascii=False) + "\n")
        # Without times of members: the same files are the same archive, which the service stores once.
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, one in zip(members, files, strict=True):
                archive.writestr(zipfile.ZipInfo(name), read_file(one))
            archive.writestr(zipfile.ZipInfo(MANIFEST), "".join(manifest))

    def _members(self, files: list[Any]) -> Iterator[str]:
        """A name in the archive for each file, which no two share."""
        for number, one in enumerate(files):
            name = f"file{self.suffix}" if isinstance(one, bytes) else Path(one).name
            yield f"{number:06}/{name}"


def read_file(one: Any) -> bytes:
    """The content of a file; raises `InvalidInput` if there is none."""
    if isinstance(one, bytes):
        return one
    if not isinstance(one, str | Path):
        raise InvalidInput(f"a file is a path or bytes, not {type(one).__name__}")
    try:
        return Path(one).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{one} cannot be read: {error.strerror}") from None


def _midi(prediction: Json) -> bytes:
    return parse_music(prediction).midi


LABELLED = {PREDICTION: cell_of("label"), "probability": cell_of("scores")}
MEDIA_TASKS = (
    MediaTask("speech", "audio", "text", ".wav", parse_transcript, {PREDICTION: cell_of("text")}),
    MediaTask("video", "video", "label", ".mp4", parse_label, LABELLED),
    MediaTask("music", "midi", None, ".mid", parse_music, {PREDICTION: _midi}, optional=True),
)
