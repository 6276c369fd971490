"""A plain text: one document, with its lines as they are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from app.errors import DatasetInvalid, Problem, pointer
from app.ingest.readers.lines import blocks
from app.ingest.readers.mapping import Mapping
from app.tasks.contract import Chunk, Faults
from app.typedefs import Json


class Plain:
    """The text of a file in one column, `text`; line ends are LF, however the file has them (CR LF too)."""

    def __init__(self, path: Path, format_: str, mapping: Mapping, faults: Faults) -> None:
        if mapping.columns:
            problems = [
                Problem(pointer("columns", name), "A plain text has no columns that could be named.")
                for name in mapping.columns
            ]
            raise DatasetInvalid(f"The file cannot be used: {problems[0].detail}", problems)
        self.format = format_
        self._path = path
        self._faults = faults

    def chunks(self) -> Iterator[Chunk]:
        """Give the text in pieces of whole lines, each with the number of its first line."""
        line = 1
        for block in blocks(self._path, self._faults):
            yield Chunk(np.array([line]), {"text": np.array([block.replace("\r\n", "\n")], object)})
            line += block.count("\n")

    def records(self) -> Iterator[tuple[int, Json]]:
        """Give the whole text as one object."""
        yield 1, {"text": "".join(chunk.columns["text"][0] for chunk in self.chunks())}
