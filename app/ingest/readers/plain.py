"""A plain text: one document, with its lines as they are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from app.errors import DatasetInvalid, Problem, pointer
from app.ingest.readers.compressed import open_content
from app.ingest.readers.lines import read_blocks
from app.ingest.readers.mapping import Mapping
from app.ingest.readers.single_file import SingleFile
from app.tasks.source import Chunk, Faults
from app.typedefs import Json


class Plain(SingleFile):
    """The text of a file in one column, `text`; line ends become LF, also those written as CR LF."""

    def __init__(self, path: Path, format_: str, mapping: Mapping, faults: Faults) -> None:
        if mapping.columns:
            problems = [
                Problem(pointer("columns", name), "A plain text has no columns that could be named.")
                for name in mapping.columns
            ]
            raise DatasetInvalid.of(problems)
        self.format = format_
        self._path = path
        self._faults = faults

    def chunks(self) -> Iterator[Chunk]:
        """Yield the text in blocks of whole lines, each with the number of its first line."""
        line = 1
        with open_content(self._path) as file:
            for block in read_blocks(file, self._faults):
                yield Chunk(np.array([line]), {"text": np.array([block.replace("\r\n", "\n")], object)})
                line += block.count("\n")

    def records(self) -> Iterator[tuple[int, Json]]:
        """Yield the whole text as one object."""
        yield 1, {"text": "".join(chunk.columns["text"][0] for chunk in self.chunks())}
