"""What a file is by its first bytes, whatever its name says."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from app.errors import DatasetInvalid, Invalid, Problem

SNIFF_BYTES = 4096  # of a file, read to detect what it is
BOM = b"\xef\xbb\xbf"
MAGIC = {b"PAR1": "parquet", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}
COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
}
BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
COMPRESSED_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4")
AS_TABLE = "save it as CSV"
FOREIGN = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Excel or Office file (such as .xls)", AS_TABLE),
    b"%PDF-": ("a PDF file", "upload the data itself"),
    b"ARROW1\x00\x00": ("an Arrow or Feather file", "save it as Parquet"),
    b"\xff\xff\xff\xff": ("an Arrow stream", "save it as Parquet"),
    b"FEA1": ("an old Feather file", "save it as Parquet"),
    b"Obj\x01": ("an Avro file", "save it as Parquet"),
    b"\x89HDF": ("an HDF5 file", "save it as Parquet"),
    b"SQLite format 3\x00": ("an SQLite database", AS_TABLE),
    b"\x93NUMPY": ("a NumPy file", AS_TABLE),
    b"\x80\x04\x95": ("a Python pickle, which is never read", AS_TABLE),
    b"\x80\x05\x95": ("a Python pickle, which is never read", AS_TABLE),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "unpack it"),
    b"Rar!\x1a\x07": ("a RAR archive", "unpack it"),
    b"\x1f\x9d": ("a file compressed by `compress` (.Z)", "unpack it"),
    b"\x89PNG": ("a PNG image", "upload the data itself"),
    b"\xff\xd8\xff": ("a JPEG image", "upload the data itself"),
}
HTML = re.compile(rb"\s*<(!doctype\s+html|html)\b", re.IGNORECASE)
OFFICE_PARTS = ((b"xl/", "an Excel workbook (.xlsx)"), (b"word/", "a Word document (.docx)"))
OPEN_DOCUMENT = b"mimetypeapplication/vnd.oasis.opendocument."
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257
JSON_START = re.compile(rb"[{\[]")  # of JSON Lines, where the other formats are tables
JSON_OBJECT_START = re.compile(rb'(\[\s*)?\{\s*"|\{\s*\}')  # where plain text may begin with one too
FREE_FORMS = {"txt", "conll"}  # formats that may begin with any character
JSON_SUFFIXES = ("jsonl", "json", "ndjson")
OTHER_NAMES = {"conllu": "conll", "json": "jsonl", "ndjson": "jsonl", "tab": "tsv", "text": "txt"}


def compression(head: bytes) -> str | None:
    """How a file that begins with these bytes is compressed; None if it is not."""
    if BZIP2.match(head):
        return "bzip2"
    return next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), None)


def uncompressed_name(filename: str) -> str:
    """The name of a compressed file's content: without the ending that says how it is compressed."""
    return next(
        (filename[: -len(end)] for end in COMPRESSED_SUFFIXES if filename.lower().endswith(end)), filename
    )


def foreign_kind(head: bytes) -> tuple[str, str] | None:
    """What a file is that no reader reads, and what to do with it; None for any other file."""
    for magic, kind in FOREIGN.items():
        if head.startswith(magic):
            return kind
    if head[TAR_MAGIC_AT:].startswith(TAR_MAGIC):
        return "a tar archive", "unpack it"
    if head.startswith(b"PK\x03\x04"):
        if head[30:].startswith(OPEN_DOCUMENT):
            return "an OpenDocument file (such as .ods)", AS_TABLE
        if head[30:].startswith((b"[Content_Types].xml", b"_rels/", b"docProps/", b"xl/", b"word/")):
            kinds = (kind for part, kind in OFFICE_PARTS if part in head)
            return next(kinds, "an Office document (such as .xlsx)"), AS_TABLE
    return None


def binary_format(head: bytes) -> str | None:
    """The binary format that these first bytes begin; None for any other, such as text."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def detect_format(formats: Sequence[str], filename: str, head: bytes) -> str:
    """The format by the first bytes and, between kinds of text, the name; it may be none of `formats`."""
    if (binary := binary_format(head)) is not None:
        return binary
    suffix = PurePath(filename).suffix.lower().removeprefix(".")
    free_form = not FREE_FORMS.isdisjoint(formats)
    start = JSON_OBJECT_START if free_form else JSON_START
    is_json = start.match(head.removeprefix(BOM).lstrip())
    if "jsonl" in formats and (is_json or (free_form and suffix in JSON_SUFFIXES)):
        return "jsonl"
    texts = [name for name in formats if name not in (*MAGIC.values(), "jsonl")] or list(formats)
    if {"csv", "tsv"} <= set(texts):
        return _delimited(head, suffix)
    return suffix if suffix in texts else "csv" if "csv" in texts else texts[0]


def _delimited(head: bytes, suffix: str) -> str:
    """CSV or TSV by the first line; by the name where that has a tab and another separator, or none."""
    line = next(iter(head.removeprefix(BOM).lstrip(b"\r\n").splitlines()), b"")
    has_other = any(mark in line for mark in (b",", b";", b"|"))
    if (b"\t" in line) != has_other:
        return "tsv" if b"\t" in line else "csv"
    return "tsv" if suffix == "tsv" else "csv"


def choose_format(
    task: str, formats: Sequence[str], filename: str, head: bytes, requested: str | None
) -> str:
    """The format to read an uncompressed file in; a `requested` one only decides between kinds of text.

    Raises `Invalid` where the task, `task`, does not read such files; the reason says what the file is.
    """
    takes = f"{task} takes {', '.join(formats)}"
    requested = OTHER_NAMES.get(requested, requested) if requested else None
    if requested is not None and requested not in formats:
        raise Invalid(problems=[Problem("/format", takes)])
    kind = foreign_kind(head)
    if "txt" not in formats and HTML.match(head.removeprefix(BOM)):
        kind = ("a web page (HTML)", "upload the data itself")
    if kind is not None:
        detail = f"This is {kind[0]}, which is not read: {kind[1]}; {takes}."
        raise DatasetInvalid(detail, [Problem("/file", detail)])
    detected = detect_format(formats, filename, head)
    if binary_format(head) is not None and (detected not in formats or requested not in (None, detected)):
        noun = "a zip archive" if detected == "zip" else "a Parquet file"
        raise Invalid(problems=[Problem("/format", f"this is {noun}; {takes}")])
    return requested or detected
