"""Uploaded files as rows or records; imported by the ingest process only, never by the web process."""

from pathlib import Path

from app.ingest.readers.conll import Conll
from app.ingest.readers.delimited import Delimited
from app.ingest.readers.jsonlines import JsonLines
from app.ingest.readers.mapping import Mapping
from app.ingest.readers.parquet import Parquet
from app.ingest.readers.plain import Plain
from app.tasks.contract import Faults, Source

__all__ = ["Mapping", "open_source"]

DELIMITERS = {"csv": ",", "tsv": "\t"}


def open_source(path: Path, format_: str, mapping: Mapping, faults: Faults) -> Source:
    """Open a file in the format that was found or asked for; `mapping` says how its columns are called."""
    if format_ == "parquet":
        return Parquet(path, format_, mapping, faults)
    if format_ == "jsonl":
        return JsonLines(path, format_, mapping, faults)
    if format_ == "txt":
        return Plain(path, format_, mapping, faults)
    if format_ == "conll":
        return Conll(path, format_, mapping, faults)
    return Delimited(path, format_, DELIMITERS[format_], mapping, faults)
