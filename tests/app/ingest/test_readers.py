import io
import json
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DatasetInvalid, Problem
from app.ingest.readers import Mapping, lines, open_source, parquet
from app.ingest.readers.delimited import reader as delimited
from app.tasks.source import Chunk, Faults, Source
from app.typedefs import Json

CANONICAL = ("unique_id", "ds", "y", "split")
PATHS = TemporaryDirectory()  # for properties, which share no fixture between examples


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "content"


def source(path: Path, body: bytes, format_: str, faults: Faults, columns: dict[str, str]) -> Source:
    path.write_bytes(body)
    return open_source(path, format_, Mapping.checked(columns, CANONICAL), faults)


def chunks(path: Path, body: bytes, format_: str = "csv", **columns: str) -> list[Chunk]:
    return list(source(path, body, format_, Faults(), columns).chunks())


def records(path: Path, body: bytes, format_: str = "csv", **columns: str) -> list[tuple[int, Json]]:
    return list(source(path, body, format_, Faults(), columns).records())


def fault(path: Path, body: bytes, format_: str = "csv") -> list[Problem]:
    faults = Faults()
    with pytest.raises(DatasetInvalid) as caught:  # noqa: PT012
        for _ in source(path, body, format_, faults, {}).chunks():
            pass
        faults.check()
    return caught.value.problems


def test_csv_comes_as_columns_with_line_numbers(path: Path) -> None:
    [chunk] = chunks(path, b"\xef\xbb\xbfa, b \r\n1,x\r\n2,y\r\n")
    assert list(chunk.columns) == ["a", "b"]
    assert chunk.columns["b"].tolist() == ["x", "y"]
    assert chunk.rows.tolist() == [2, 3]


def test_line_numbers_count_line_breaks_in_fields_and_blank_lines(path: Path) -> None:
    body = b'\na,b\n1,"two\nlines"\n\n2,"say ""hi"""\n3,\xe2\x80\xa8\n'
    [chunk] = chunks(path, body)
    assert chunk.rows.tolist() == [3, 6, 7]
    assert chunk.columns["b"].tolist() == ["two\nlines", 'say "hi"', "\u2028"]


def test_many_rows_come_in_chunks_that_go_on_counting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "CHUNK_ROWS", 4)
    monkeypatch.setattr(lines, "READ_BLOCK_BYTES", 7)
    result = chunks(path, b"a,b\n" + b"".join(b"%d,x\n" % index for index in range(10)))
    assert [len(chunk.rows) for chunk in result] == [4, 4, 2]
    assert np.concatenate([chunk.rows for chunk in result]).tolist() == list(range(2, 12))
    assert [value for chunk in result for value in chunk.columns["a"]] == [str(index) for index in range(10)]


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0\r")), st.integers()), min_size=1
    )
)
def test_what_was_written_as_csv_is_read_again(rows: list[tuple[str, int]]) -> None:
    quoted = "".join('"' + text.replace('"', '""') + f'",{number}\n' for text, number in rows)
    path = Path(PATHS.name) / "content"
    result = chunks(path, ("text,number\n" + quoted).encode())
    assert [value for chunk in result for value in chunk.columns["text"]] == [text for text, _ in rows]


def test_a_file_of_nothing_but_bad_rows_gives_only_those_faults(path: Path) -> None:
    assert [problem.pointer for problem in fault(path, b"a,b\n1\n2\n")] == ["/file/row/2", "/file/row/3"]


def test_a_damaged_row_has_its_line_after_rows_with_line_breaks(path: Path) -> None:
    problems = fault(path, b'a,b\n"1\n1",2\n3\n4,5,6\n7,8\n')
    assert [problem.pointer for problem in problems] == ["/file/row/4", "/file/row/5"]


def test_a_wrong_byte_has_its_line_beyond_the_first_block(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "READ_BLOCK_BYTES", 16)
    assert fault(path, b"a,b\n" + b"1,2\n" * 100 + b"\xff,2\n")[0].pointer == "/file/row/102"


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_a_line_without_end_is_given_up(format_: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "READ_BLOCK_BYTES", 16)
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1 << 20)
    [problem] = fault(path, b"a,b\n" + b"x" * (2 << 20), format_)[-1:]
    assert problem.pointer == "/file/row/2"
    assert "longer than 1 MiB" in problem.detail


def test_wide_tables_come_in_small_chunks(path: Path) -> None:
    header = b",".join(b"c%d" % index for index in range(5_000)) + b"\n"
    row = b",".join(b"1" for _ in range(5_000)) + b"\n"
    result = chunks(path, header + row * 500)
    assert sum(len(chunk.rows) for chunk in result) == 500
    assert max(len(chunk.rows) * len(chunk.columns) for chunk in result) <= delimited.CHUNK_CELLS


def test_columns_take_their_canonical_names(path: Path) -> None:
    body = b",day,high,y\n0,2024-01-01,7,9\n"  # an index without a name, and a y that is not meant
    [chunk] = chunks(path, body, ds="day", y="high")
    assert {name: values.tolist() for name, values in chunk.columns.items()} == {
        "ds": ["2024-01-01"],
        "y": ["7"],
    }


def test_json_fields_take_their_canonical_names(path: Path) -> None:
    assert records(path, b'{"high":1,"y":2,"ds":3}\n', "jsonl", y="high") == [(1, {"y": 1, "ds": 3})]


@pytest.mark.parametrize(
    ("columns", "pointers"),
    [
        ({"target": "y"}, ["/columns/target"]),
        ({"ds": "a", "y": "a"}, ["/columns/ds", "/columns/y"]),
        ({"a/b~c": "y"}, ["/columns/a~1b~0c"]),
    ],
)
def test_a_mapping_that_makes_no_sense(columns: dict[str, str], pointers: list[str]) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        Mapping.checked(columns, CANONICAL)
    assert [problem.pointer for problem in caught.value.problems] == pointers


def test_a_mapping_to_columns_that_are_not_there(path: Path) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        chunks(path, b"a,b\n1,2\n", ds="day", y="b")
    assert caught.value.problems == [("/columns/ds", "The file has no column 'day'; it has a, b.")]


def test_rows_as_records(path: Path) -> None:
    assert records(path, b"text,label\nhi,1\nyo,2\n") == [
        (2, {"text": "hi", "label": "1"}),
        (3, {"text": "yo", "label": "2"}),
    ]


def test_tab_separated_text_is_not_quoted(path: Path) -> None:
    result = records(path, b'source\ttarget\n"Hi, all\tHola "a todos"\n', "tsv")
    assert result == [(2, {"source": '"Hi, all', "target": 'Hola "a todos"'})]
    assert "','" in fault(path, b"source,target\n", "tsv")[0].detail


def test_json_lines_skip_blank_lines_and_read_nan(path: Path) -> None:
    [(line, record)] = records(path, b'\n  \n{"a": [NaN, null, "x"], "b": {"c": 1}}', "jsonl")
    assert line == 3
    assert np.isnan(record["a"][0])
    assert record["b"] == {"c": 1}


def test_json_lines_as_columns(path: Path) -> None:
    [chunk] = chunks(path, b'{"text":"a","label":1}\n\n{"text":"b"}\n', "jsonl")
    assert chunk.rows.tolist() == [1, 3]
    assert chunk.columns["text"].tolist() == ["a", "b"]
    assert chunk.columns["label"].tolist() == [1, None]


def test_every_bad_json_line_is_reported(path: Path) -> None:
    body = b'{"a":1}\n{"a":\n[]\n{"a":1,"a":2}\n{"a":-Infinity}\n'
    assert [problem.pointer for problem in fault(path, body, "jsonl")] == [
        f"/file/row/{row}" for row in (2, 3, 4, 5)
    ]


def written(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=2)
    return sink.getvalue()


def test_parquet_columns_of_every_flat_type(path: Path) -> None:
    body = written(
        text=["a", None, "c"],
        coded=pa.array(["x", "y", None]).dictionary_encode(),
        whole=pa.array([1, 2, 3], pa.uint8()),
        holes=[1, None, 3],
        real=pa.array([1.5, None, 3], pa.float32()),
        money=[Decimal("1.25"), Decimal("2.50"), None],
        truth=[True, False, None],
        day=pa.array([0, 1, None], pa.date32()),
        moment=pa.array([1_500_000_000, 0, None], pa.timestamp("ns", "Europe/Berlin")),
        nothing=pa.nulls(3),
    )
    result = chunks(path, body, "parquet")
    assert np.concatenate([chunk.rows for chunk in result]).tolist() == [1, 2, 3]
    columns = {name: np.concatenate([chunk.columns[name] for chunk in result]) for name in result[0].columns}
    assert columns["text"].tolist() == ["a", "", "c"]
    assert columns["coded"].tolist() == ["x", "y", ""]
    assert columns["whole"].tolist() == [1, 2, 3]
    for name, expected in (
        ("holes", [1, np.nan, 3]),
        ("real", [1.5, np.nan, 3]),
        ("money", [1.25, 2.5, np.nan]),
    ):
        assert np.array_equal(columns[name], expected, equal_nan=True), name
    assert np.array_equal(columns["truth"], [1, 0, np.nan], equal_nan=True)
    assert np.isnan(columns["nothing"]).all()
    assert [str(day) for day in columns["day"]] == ["1970-01-01T00:00:00", "1970-01-02T00:00:00", "NaT"]
    assert columns["moment"].tolist() == [
        "1970-01-01T01:00:01.500000000+0100",
        "1970-01-01T01:00:00.000000000+0100",
        "",
    ]


def test_parquet_rows_as_records_and_under_canonical_names(path: Path) -> None:
    assert records(path, written(day=["a"], y=[1]), "parquet", ds="day") == [(1, {"ds": "a", "y": 1})]


@pytest.mark.server
def test_a_parquet_file_that_grows_beyond_reason_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MAX_CELLS", 100_000)
    bomb = written(a=pa.array([0] * 60_000), b=pa.array([0] * 60_000))
    assert "60,000 rows of 2 columns" in fault(path, bomb, "parquet")[0].detail


GOOD = written(ds=["2024-01-01", "2024-01-02", "2024-01-03"], y=[1.0, 2.0, None])


@given(st.data())
def test_any_damage_to_a_parquet_file_is_one_fault_or_harmless(data: st.DataObject) -> None:
    body = bytearray(GOOD)
    for index in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=4)):
        body[index] = data.draw(st.integers(0, 255))
    path = Path(PATHS.name) / "content"
    try:
        chunks(path, bytes(body), "parquet")
    except DatasetInvalid as error:
        json.dumps(error.problems)
