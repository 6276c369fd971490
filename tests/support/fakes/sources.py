"""Uploaded files that exist only in memory."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from app.tasks.source import Chunk, Member
from app.typedefs import Json


@dataclass
class MemorySource:
    """A table in chunks, or records in order; no archive."""

    format: str
    tables: Sequence[Chunk] = ()
    objects: Sequence[Json] = field(default=())
    has_manifest: bool = False
    separator: str | None = None

    def chunks(self) -> Iterator[Chunk]:
        return iter(self.tables)

    def records(self) -> Iterator[tuple[int, Json]]:
        return iter(enumerate(self.objects, 1))

    def members(self) -> Iterator[Member]:
        return iter(())

    def open_member(self, name: str) -> BinaryIO:
        raise KeyError(name)

    def manifest(self) -> Iterator[tuple[int, Json]]:
        return iter(())

    def unlisted(self, names: Collection[str]) -> list[str]:
        del names
        return []
