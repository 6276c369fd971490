import csv
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DatasetInvalid, Problem
from app.ingest.readers import Mapping, lines, open_source
from app.ingest.readers.delimited import reader as delimited
from app.ingest.readers.mapping import MAX_COLUMNS
from app.tasks.source import Faults, Source
from app.typedefs import Json

DIRECTORY = TemporaryDirectory()  # for properties, which share no fixture between examples
FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)
ROWS = st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=12)


def source(
    body: bytes, format_: str, faults: Faults | None = None, columns: dict[str, str] | None = None
) -> Source:
    path = Path(DIRECTORY.name) / "content"
    path.write_bytes(body)
    return open_source(path, format_, Mapping(columns or {}), faults or Faults())


def records(body: bytes, format_: str = "csv", **columns: str) -> list[tuple[int, Json]]:
    return list(source(body, format_, columns=columns).records())


def refused(body: bytes, format_: str = "csv") -> list[Problem]:
    faults = Faults()
    with pytest.raises(DatasetInvalid) as caught:  # noqa: PT012
        for _ in source(body, format_, faults).chunks():
            pass
        faults.check()
    return caught.value.problems


def written(rows: list[tuple[str, str, str]], end: str, *, quote_all: bool) -> tuple[bytes, list[int]]:
    """A table as Python's own writer has it, and the line that each row begins at."""
    sink, begins = io.StringIO(), []
    writer = csv.writer(sink, lineterminator=end, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerow(["a", "b", "c"])
    for row in rows:
        begins.append(sink.getvalue().count("\n") + 1)
        writer.writerow(row)
    return sink.getvalue().encode(), begins


@given(
    ROWS,
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 13),
    st.integers(1, 30),
)
def test_any_table_is_read_with_its_lines_whatever_the_chunks(
    rows: list[tuple[str, str, str]], end: str, quote_all: bool, bom: bool, size: int, block: int
) -> None:
    body, begins = written(rows, end, quote_all=quote_all)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "CHUNK_ROWS", size)
        patch.setattr(lines, "READ_BLOCK_BYTES", block)
        chunks = list(source(b"\xef\xbb\xbf" * bom + body, "csv").chunks())
    assert all(0 < len(chunk.rows) <= size for chunk in chunks)
    result = [row for chunk in chunks for row in zip(*chunk.columns.values(), strict=True)]
    assert result == rows
    assert np.concatenate([chunk.rows for chunk in chunks]).tolist() == begins


@given(st.integers(1, 30), st.sampled_from([b"\n", b"\r\n"]), st.data())
def test_blank_lines_anywhere_change_nothing_but_the_line_numbers(
    count: int, end: bytes, data: st.DataObject
) -> None:
    blanks = data.draw(st.lists(st.integers(0, 3), min_size=count + 1, max_size=count + 1))
    body, line, expected = end * blanks[0] + b"text,label" + end, blanks[0] + 2, []
    for index in range(count):
        body += end * blanks[index + 1] + b"row %d,%d" % (index, index) + end
        line += blanks[index + 1]
        expected.append((line, {"text": f"row {index}", "label": str(index)}))
        line += 1
    assert records(body) == expected
    assert records(body.rstrip()) == expected  # nor does a last line without its end


@pytest.mark.parametrize("size", range(1, 5))
def test_lines_are_counted_on_from_chunk_to_chunk(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "CHUNK_ROWS", size)
    body = b'text,label\n"in two\nlines",0\n\nin one,1\n"\nin\nfour\n",0\nlast,1\n'
    assert [line for line, _ in records(body)] == [2, 5, 6, 10]


def test_text_and_label_as_a_later_task_will_read_them() -> None:
    body = b'text,label\r\n"Great, isn\'t it?\r\nYes",1\r\n"She said ""no""",0\r\n,1\r\n'
    assert records(body) == [
        (2, {"text": "Great, isn't it?\r\nYes", "label": "1"}),
        (4, {"text": 'She said "no"', "label": "0"}),
        (5, {"text": "", "label": "1"}),
    ]


def test_tab_separated_pairs_keep_quotes_commas_and_spaces() -> None:
    body = 'source\ttarget\n He said "hi, \t„hallo“ \n"\t"a" and "b"\n"Hi"!\t"a""\n"""\t"5""\n'.encode()
    assert records(body, "tsv") == [
        (2, {"source": ' He said "hi, ', "target": "„hallo“ "}),
        (3, {"source": '"', "target": '"a" and "b"'}),
        (4, {"source": '"Hi"!', "target": '"a""'}),
        (5, {"source": '"""', "target": '"5""'}),
    ]


def test_tab_separated_fields_lose_the_quotes_around_them() -> None:
    body = b'"source"\t"target"\n"he said ""hi"""\t"a\tb"\n"two\n\nlines"\tx\ny\t"end\r\nof it"\r\n"a"\t""\n'
    assert records(body, "tsv") == [
        (2, {"source": 'he said "hi"', "target": "a\tb"}),
        (3, {"source": "two\n\nlines", "target": "x"}),
        (6, {"source": "y", "target": "end\r\nof it"}),
        (8, {"source": "a", "target": ""}),
    ]


@given(ROWS, st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), st.integers(1, 13))
def test_what_is_written_as_tab_separated_values_comes_back(
    rows: list[tuple[str, str, str]], quoting: Any, size: int
) -> None:
    rows = [tuple(field.replace("\t", " ") if "\n" in field else field for field in row) for row in rows]  # type: ignore[misc]
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter="\t", lineterminator="\n", quoting=quoting)
    writer.writerows([["a", "b", "c"], *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "CHUNK_ROWS", size)
        result = records(sink.getvalue().encode(), "tsv")
    assert [tuple(record.values()) for _, record in result] == rows


def test_a_quote_that_is_not_closed_costs_no_other_row() -> None:
    body = b"a\tb\n" + b'"x\ty\n' * 3 + b'z\t"w\n' * 3
    assert [tuple(record.values()) for _, record in records(body, "tsv")] == [('"x', "y")] * 3 + [
        ("z", '"w')
    ] * 3
    [problem] = refused(b'a\tb\nc\t"d\nonly one\ne\tf\n', "tsv")
    assert problem == ("/file/row/3", "Expected 2 fields, got 1.")


@pytest.mark.parametrize("format_", ["csv", "tsv"])
def test_separators_of_unicode_are_no_line_ends(format_: str) -> None:
    mark = delimited_by(format_)
    body = f"a{mark}b\nx\u2028y\u2029z{mark}u\x85v\n1{mark}2\n".encode()
    assert records(body, format_) == [(2, {"a": "x\u2028y\u2029z", "b": "u\x85v"}), (3, {"a": "1", "b": "2"})]


def delimited_by(format_: str) -> str:
    return {"csv": ",", "tsv": "\t"}[format_]


def test_a_table_of_thousands_of_columns_keeps_them_apart() -> None:
    width = 3_000
    header = ",".join(f"c{index}" for index in range(width))
    rows = [",".join(str(row * width + index) for index in range(width)) for row in range(3)]
    chunks = list(source("\n".join([header, *rows]).encode(), "csv").chunks())
    assert list(chunks[0].columns) == [f"c{index}" for index in range(width)]
    assert chunks[0].columns["c2999"].tolist() == ["2999", "5999", "8999"]


def test_a_single_column_has_blank_lines_too() -> None:
    assert records(b"text\nhello\n\nworld\n") == [(2, {"text": "hello"}), (4, {"text": "world"})]


def test_mapped_and_unnamed_columns() -> None:
    assert records(b",day,y, high \n0,d,1,2\n", ds="day", y="high") == [(2, {"ds": "d", "y": "2"})]


@pytest.mark.parametrize(
    ("body", "row", "word"),
    [
        (b'a,b\n1,2\n"3,4\n5,6\n', 4, "row that begins at line 3 is not closed"),
        (b'a,b\n"1\n\n1",2\n"3"x,4\n', 5, "Text after a closing quote"),
        (b"a,b\n1,2\n3,4\r5\n", 3, "carriage return"),
        (b"a,b\n1,2\n3\n", 3, "Expected 2 fields, got 1"),
        (b"a,b\n1,2\n\n3,4,\n", 4, "Expected 2 fields, got 3"),
        (b"2024-01-01,5\n2024-01-02,6\n", 1, "looks like data"),
        (b'"a;b"\n"1;2"\n', 1, "seems to use ';' between its fields; csv uses ','"),
        (b"\n\n", 1, "empty"),
    ],
)
def test_what_is_no_table_is_reported_with_its_line(body: bytes, row: int, word: str) -> None:
    [problem] = refused(body)
    assert (problem.pointer, word in problem.detail) == (f"/file/row/{row}", True), problem


def test_a_field_without_end_is_given_up() -> None:
    [problem] = refused(b'a,b\n1,2\n3,"' + b"x" * (delimited.MAX_FIELD_CHARS + 10))
    assert "begins at line 3 is over 1 MiB" in problem.detail


def test_too_many_columns_are_refused_before_any_row() -> None:
    [problem] = refused(b",".join(b"c%d" % index for index in range(MAX_COLUMNS + 1)) + b"\n")
    assert "names 10,001 columns" in problem.detail


def test_every_name_that_comes_twice_is_reported() -> None:
    result = refused(b"a,b,a,b,b,,\n1,2,3,4,5,6,7\n")
    assert [(problem.pointer, problem.detail[-8:]) for problem in result] == [
        ("/file/row/1/column/a", "2 times."),
        ("/file/row/1/column/b", "3 times."),
    ]


@pytest.mark.parametrize("mark", ["\t", ";", "|"])
@pytest.mark.parametrize("first", ['"a"', '"a ""b"" c"', "a"])
def test_another_separator_is_read_with_and_without_quotes(mark: str, first: str) -> None:
    read = source(f'{first}{mark}"b"\n"1,5"{mark}"2"\n'.encode(), "csv")
    [(row, record)] = read.records()
    assert (row, list(record.values()), read.separator) == (2, ["1,5", "2"], mark)


def test_a_line_that_names_the_separator_is_no_row() -> None:
    assert records(b"sep=;\r\na;b\r\n1,5;2\r\n") == [(3, {"a": "1,5", "b": "2"})]


@pytest.mark.parametrize(("mark", "decimal"), [(";", True), ("|", True)])
def test_chunks_say_whether_commas_are_decimal(
    mark: str, decimal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "CHUNK_ROWS", 1)
    body = f"a{mark}b\n1{mark}2\n1{mark}2,5\n".encode()
    assert [chunk.decimal_comma for chunk in source(body, "csv").chunks()] == [decimal] * 2
    assert not next(source(b'a,b\n1,"2,5"\n', "csv").chunks()).decimal_comma


@pytest.mark.parametrize("end", [b'"3"x,4\n', b"3,4\r5\n", b"3,\xff\n", b"3,\0\n"])
def test_what_comes_before_an_error_is_still_read(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "READ_BLOCK_BYTES", 1)
    faults = Faults()
    body = b"a,b\n1,2\n3\n5,6\n"
    chunks = list(source(body + end, "csv", faults).chunks())
    assert [row for chunk in chunks for row in chunk.rows.tolist()] == [2, 4]
    with pytest.raises(DatasetInvalid) as caught:
        faults.check()
    assert [one.pointer for one in caught.value.problems] == ["/file/row/3", "/file/row/5"]
