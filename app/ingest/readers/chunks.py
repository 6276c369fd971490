"""Records gathered into columns, for tasks that read a file column by column."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from app.tasks.source import Chunk
from app.typedefs import Json

CHUNK_RECORDS = 1_000


def as_chunks(records: Iterator[tuple[int, Json]]) -> Iterator[Chunk]:
    """Gather some objects at a time as columns of their values; None where an object lacks the field."""
    while batch := list(islice(records, CHUNK_RECORDS)):
        names = dict.fromkeys(name for _, record in batch for name in record)
        columns = {name: np.empty(len(batch), object) for name in names}
        for index, (_, record) in enumerate(batch):
            for name, value in record.items():
                columns[name][index] = value
        yield Chunk(np.array([number for number, _ in batch]), columns)
