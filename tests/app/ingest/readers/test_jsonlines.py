import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DatasetInvalid, Problem
from app.ingest.readers import Mapping, chunks, lines, open_source
from app.tasks.source import MAX_FAULTS, Chunk, Faults, Source
from app.typedefs import Json

DIRECTORY = TemporaryDirectory()  # for properties, which share no fixture between examples
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=8).filter(
    lambda objects: not (objects and objects[0] and all(isinstance(one, dict) for one in objects[0].values()))
)  # which would be a whole table


def source(body: bytes, faults: Faults | None = None, columns: dict[str, str] | None = None) -> Source:
    path = Path(DIRECTORY.name) / "content"
    path.write_bytes(body)
    return open_source(path, "jsonl", Mapping(columns or {}), faults or Faults())


def records(body: bytes, **columns: str) -> list[tuple[int, Json]]:
    return list(source(body, columns=columns).records())


def refused(body: bytes) -> list[Problem]:
    faults = Faults()
    with pytest.raises(DatasetInvalid) as caught:  # noqa: PT012
        exhaust(source(body, faults).records())
        faults.check()
    return caught.value.problems


def exhaust(rows: Iterator[object]) -> None:
    for _ in rows:
        pass


def rows_of(chunk_list: list[Chunk]) -> list[tuple[int, dict[str, Any]]]:
    return [
        (int(row), {name: column[index] for name, column in chunk.columns.items()})
        for chunk in chunk_list
        for index, row in enumerate(chunk.rows)
    ]


@given(
    OBJECTS,
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\n\n", "\r\n \t\r\n"]),
    st.booleans(),
    st.booleans(),
)
def test_any_objects_come_back_with_their_lines(
    objects: list[Json], ascii_only: bool, end: str, bom: bool, closed: bool
) -> None:
    text = end.join(json.dumps(one, ensure_ascii=ascii_only) for one in objects)
    try:
        body = (b"\xef\xbb\xbf" if bom else b"") + (text + end * closed).encode()
    except UnicodeEncodeError:
        return  # a lone surrogate has no UTF-8
    step = end.count("\n")
    assert records(body) == [(1 + index * step, one) for index, one in enumerate(objects)]


@given(st.integers(1, 12), st.integers(1, 40))
def test_chunks_and_blocks_of_any_size_give_the_same_rows(size: int, block: int) -> None:
    body = b"".join(
        b'{"text": "line %d \xc3\xa4", "label": %d}\n%s' % (index, index, b"\n" * (index % 2))
        for index in range(11)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_RECORDS", size)
        patch.setattr(lines, "READ_BLOCK_BYTES", block)
        chunk_list = list(source(body).chunks())
    assert [len(chunk.rows) for chunk in chunk_list[:-1]] == [size] * (len(chunk_list) - 1)
    result = rows_of(chunk_list)
    assert result == records(body)
    assert [row for row, _ in result] == [1 + index + index // 2 for index in range(11)]


def test_a_field_that_only_some_objects_have_is_none_in_the_others() -> None:
    chunk_list = list(source(b'{"a": 1}\n{"b": [2]}\n{"a": "x", "b": {"c": 3}}').chunks())
    assert rows_of(chunk_list) == [
        (1, {"a": 1, "b": None}),
        (2, {"a": None, "b": [2]}),
        (3, {"a": "x", "b": {"c": 3}}),
    ]


def test_lists_of_equal_length_stay_lists_in_a_column() -> None:
    [chunk] = source(b'{"tokens": ["a", "b"]}\n{"tokens": ["c", "d"]}').chunks()
    assert chunk.columns["tokens"].shape == (2,)
    assert chunk.columns["tokens"].tolist() == [["a", "b"], ["c", "d"]]


def test_nan_is_a_number_and_infinity_is_not() -> None:
    [(_, record)] = records(b'{"y": NaN}')
    assert np.isnan(record["y"])
    assert "Infinity is not a JSON number" in refused(b'{"y": Infinity}')[0].detail
    assert refused(b'{"y": [1, -Infinity]}')[0].detail.startswith("-Infinity")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b"{", "Not valid JSON"),
        (b'{"a": 1}, {"a": 2}', "Extra data at column 9"),
        (b"[1]", "got an array"),
        (b'"text"', "got a text"),
        (b"true", "got a truth value"),
        (b"null", "got null"),
        (b"3.5", "got a number"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' is given twice"),
        (b'{"a": {"b": 1, "b": 1}}', "'b' is given twice"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "too many digits"),
        (b"{'a': 1}", "Not valid JSON"),
        (b'{"a": 1,}', "Not valid JSON"),
        (b'{"a": "\t"}', "Not valid JSON"),
    ],
)
def test_a_line_that_is_no_object_is_a_fault_of_that_line_only(line: bytes, word: str) -> None:
    body = b'{"a": 0}\n\n' + line + b'\n{"a": 9}\n'
    [problem] = refused(body)
    assert problem.pointer == "/file/row/3"
    assert word in problem.detail
    assert len(problem.detail) < 200
    assert [row for row, _ in records(body)] == [1, 4]


def test_a_file_of_garbage_is_given_up_at_the_twentieth_line() -> None:
    assert len(refused(b"garbage\n" * 1000)) == MAX_FAULTS


def test_fields_are_renamed_and_the_mapped_one_wins() -> None:
    body = b'{"value": 1, "y": 2, "day": "d", "x": 3}\n{"y": 4, "x": 5}\n'
    assert records(body, y="value", ds="day") == [(1, {"y": 1, "ds": "d", "x": 3}), (2, {"x": 5})]


def test_separators_of_unicode_are_no_line_ends() -> None:
    text = "a\u2028b\u2029c\x85d\x0be\x0cf"
    result = records(json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n" + b'{"text": "z"}')
    assert result == [(1, {"text": text}), (2, {"text": "z"})]


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table"])
def test_a_table_in_one_object_is_told_once_with_what_to_do(orient: Any) -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]})
    [problem] = refused(frame.to_json(orient=orient).encode())
    assert problem.pointer == "/file/row/1"
    assert "a whole table" in problem.detail
    assert "lines=True" in problem.detail
