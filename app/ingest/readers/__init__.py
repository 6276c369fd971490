"""Readers of uploaded files, one a format; the web process never imports them."""

from collections.abc import Callable
from pathlib import Path

from app.ingest.limits import ArchiveLimits
from app.ingest.readers.archive import Archive
from app.ingest.readers.compressed import open_content
from app.ingest.readers.conll import Conll
from app.ingest.readers.delimited.reader import Delimited
from app.ingest.readers.jsonlines import JsonLines
from app.ingest.readers.mapping import Mapping
from app.ingest.readers.parquet import Parquet
from app.ingest.readers.plain import Plain
from app.ingest.readers.zip_directory import not_an_archive
from app.tasks.source import Faults, Source

__all__ = ["Mapping", "not_an_archive", "open_content", "open_source"]

ARCHIVE = "zip"
READERS: dict[str, Callable[[Path, str, Mapping, Faults], Source]] = {
    "conll": Conll,
    "csv": Delimited,
    "jsonl": JsonLines,
    "parquet": Parquet,
    "tsv": Delimited,
    "txt": Plain,
}


def open_source(
    path: Path, format_: str, mapping: Mapping, faults: Faults, limits: ArchiveLimits | None = None
) -> Source:
    """The source for a file in this format; `mapping` gives its columns their canonical names.

    An archive is read within `limits`. A format of text may be compressed.
    """
    if format_ == ARCHIVE:
        return Archive(path, format_, mapping, faults, limits or ArchiveLimits())
    return READERS[format_](path, format_, mapping, faults)
