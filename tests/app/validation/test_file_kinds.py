"""A file is judged by its first bytes, and only then by its name."""

import pyarrow as pa
import pytest

from app.errors import Invalid
from app.validation.file_kinds import (
    choose_format,
    compression,
    detect_format,
    foreign_kind,
    uncompressed_name,
)

TABLES = ("csv", "tsv", "jsonl", "parquet")
OFFICE = b"PK\x03\x04" + bytes(26)


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (OFFICE + b"[Content_Types].xml" + b"x" * 90 + b"xl/workbook.xml", "Excel workbook (.xlsx)"),
        (OFFICE + b"[Content_Types].xml" + b"x" * 90 + b"word/document.xml", "Word document"),
        (OFFICE + b"[Content_Types].xml", "Office document"),
        (OFFICE + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "OpenDocument"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel"),
        (b"%PDF-1.7", "PDF"),
        (b"ARROW1\0\0", "Feather"),
        (b"SQLite format 3\0", "SQLite"),
        (b"\x80\x05\x95\x12", "pickle"),
        (b"\n<html lang=en>", "web page"),
        (b"a.csv" + bytes(252) + b"ustar\x0000", "tar archive"),
    ],
)
@pytest.mark.parametrize("requested", [None, "csv"])
def test_what_no_reader_reads_is_named(head: bytes, word: str, requested: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        choose_format("forecasting", ("csv", "jsonl", "parquet"), "data.csv", head, requested)
    [problem] = caught.value.problems
    assert problem.pointer == "/file"
    assert word in problem.detail
    assert "forecasting takes csv, jsonl, parquet" in problem.detail


@pytest.mark.parametrize("head", [b"", b"PDF", b"ORCA,b", b"PK", b"BZh", OFFICE + b"clip.mp4", b"<HTM"])
def test_anything_else_may_be_data(head: bytes) -> None:
    assert foreign_kind(head) is None


def test_a_web_page_may_be_a_text_to_learn() -> None:
    assert choose_format("generation", ("txt", "jsonl"), "page.html", b"<html>", None) == "txt"


@pytest.mark.parametrize(
    ("filename", "head", "requested", "expected"),
    [
        ("a.xlsx", b"text,label\n", None, "csv"),
        ("a.csv", b"text\tlabel\n", None, "tsv"),
        ("a.tsv", b"text,label\n", None, "csv"),
        ("a.tsv", b"text\tand, more\n", None, "tsv"),
        ("a.tsv", b"text;label\n", None, "csv"),
        ("a.tsv", b"text\n", None, "tsv"),
        ("a.csv", b"text\tand, more\n", None, "csv"),
        ("a.csv", b"\xef\xbb\xbf\ntext\tlabel\n", None, "tsv"),
        ("a.parquet", b"text,label\n", None, "csv"),
        ("a.csv", b"PAR1", None, "parquet"),
        ("a.csv", b'{"text"', None, "jsonl"),
        ("a.csv", b"text,label\n", "json", "jsonl"),
        ("a.csv", b"text,label\n", "tab", "tsv"),
    ],
)
def test_content_comes_before_the_name(
    filename: str, head: bytes, requested: str | None, expected: str
) -> None:
    assert choose_format("classification", TABLES, filename, head, requested) == expected


def test_conll_u_is_conll() -> None:
    for requested in (None, "conllu", "conll"):
        assert choose_format("tagging", ("jsonl", "conll"), "a.conllu", b"1\tAnn", requested) == "conll"


@pytest.mark.parametrize(
    ("formats", "head", "requested", "word"),
    [
        (TABLES, b"a", "xls", "takes csv, tsv, jsonl, parquet"),
        (TABLES, b"PK\x03\x04", None, "zip archive"),
        (TABLES, b"PAR1", "csv", "Parquet"),
        (("zip",), b"PAR1", None, "Parquet"),
    ],
)
def test_a_format_that_does_not_fit_is_refused(
    formats: tuple[str, ...], head: bytes, requested: str | None, word: str
) -> None:
    with pytest.raises(Invalid) as caught:
        choose_format("a task", formats, "a.csv", head, requested)
    [problem] = caught.value.problems
    assert problem.pointer == "/format"
    assert word in problem.detail


def test_compression_is_known_by_its_first_bytes() -> None:
    heads = {b"\x1f\x8b\x08": "gzip", b"(\xb5/\xfd": "zstd", b"BZh91AY&SY": "bzip2", b"BZh9 text": None}
    assert {head: compression(head) for head in heads} == heads
    assert [uncompressed_name(name) for name in ("a.csv.gz", "A.CSV.ZST", "a.csv")] == [
        "a.csv",
        "A.CSV",
        "a.csv",
    ]
    assert detect_format(TABLES, uncompressed_name("a.tsv.gz"), b"text") == "tsv"


@pytest.mark.parametrize("method", ["new_stream", "new_file"])
def test_arrow_is_named_whatever_its_file_is_called(method: str) -> None:
    table, sink = pa.table({"text": ["a"], "label": ["b"]}), pa.BufferOutputStream()
    with getattr(pa.ipc, method)(sink, table.schema) as writer:
        writer.write_table(table)
    kind, advice = foreign_kind(sink.getvalue().to_pybytes()) or ("", "")
    assert kind.startswith("an Arrow")
    assert advice == "save it as Parquet"
