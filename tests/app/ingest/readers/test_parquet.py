import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DatasetInvalid, Problem
from app.ingest.readers import Mapping, open_source, parquet
from app.tasks.source import Faults, Source

DIRECTORY = TemporaryDirectory()  # for properties, which share no fixture between examples
TEXTS = st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=5), min_size=1, max_size=30)


def source(body: bytes, **columns: str) -> Source:
    path = Path(DIRECTORY.name) / "content"
    path.write_bytes(body)
    return open_source(path, "parquet", Mapping(columns), Faults())


def body_of(*, group: int = 1_000, **columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=group)
    return sink.getvalue()


def joined(body: bytes, **columns: str) -> dict[str, npt.NDArray[Any]]:
    chunks = list(source(body, **columns).chunks())
    rows = np.concatenate([chunk.rows for chunk in chunks])
    assert rows.tolist() == list(range(1, len(rows) + 1))
    return {name: np.concatenate([chunk.columns[name] for chunk in chunks]) for name in chunks[0].columns}


def one(values: Any) -> npt.NDArray[Any]:
    return joined(body_of(x=values))["x"]


def refused(body: bytes) -> list[Problem]:
    with pytest.raises(DatasetInvalid) as caught:
        list(source(body).chunks())
    return caught.value.problems


@given(TEXTS, st.integers(1, 31), st.integers(1, 31), st.booleans())
def test_rows_do_not_depend_on_row_groups_or_chunks(
    texts: list[str | None], group: int, size: int, coded: bool
) -> None:
    column = pa.array(texts, pa.string())
    numbers = pa.array(range(len(texts)), pa.int32())
    body = body_of(group=group, text=column.dictionary_encode() if coded else column, at=numbers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "CHUNK_ROWS", size)
        chunks = list(source(body).chunks())
    assert max(len(chunk.rows) for chunk in chunks) <= size
    assert [row for chunk in chunks for row in chunk.rows] == list(range(1, len(texts) + 1))
    assert [text for chunk in chunks for text in chunk.columns["text"]] == [text or "" for text in texts]
    assert [at for chunk in chunks for at in chunk.columns["at"]] == list(range(len(texts)))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_kind_of_text(kind: Any) -> None:
    result = one(pa.array(["é", None, ""], kind))
    assert (result.dtype, result.tolist()) == (np.dtype(object), ["é", "", ""])


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32()])
def test_integers_stay_integers_unless_one_is_missing(kind: Any) -> None:
    whole = one(pa.array([1, 2], kind))
    assert whole.dtype == np.int64
    assert whole.tolist() == [1, 2]
    holed = one(pa.array([1, None, 2], kind))
    assert holed.dtype == np.float64
    assert np.array_equal(holed, [1, np.nan, 2], equal_nan=True)


def test_large_integers_keep_every_digit() -> None:
    large = [2**63 + 1, 2**63 + 2, 2**53 + 1]
    assert one(pa.array(large, pa.uint64())).tolist() == large
    assert one(pa.array(large, pa.uint64()).dictionary_encode()).tolist() == large
    assert one(pa.array([*large, None], pa.uint64())).tolist() == [*map(str, large), ""]
    assert one(pa.array([-(2**53) - 1, None])).tolist() == ["-9007199254740993", ""]
    assert np.array_equal(one(pa.array([2**53, None])), [2**53, np.nan], equal_nan=True)


def test_long_decimals_keep_every_digit_and_short_ones_are_floats() -> None:
    long = pa.array([Decimal(2**80), None, Decimal(2**80 + 1)], pa.decimal128(38, 0))
    assert one(long).tolist() == [str(2**80), "", str(2**80 + 1)]
    assert one(long.dictionary_encode()).tolist() == [str(2**80), "", str(2**80 + 1)]
    assert one([Decimal("1.25"), Decimal("-0.250")]).tolist() == [1.25, -0.25]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_every_width_of_float(kind: Any) -> None:
    values = pa.array(np.array([0.5, np.nan, -2], kind.to_pandas_dtype()), kind)
    assert np.array_equal(one(values), [0.5, np.nan, -2], equal_nan=True)


def test_truths_are_numbers_in_columns_and_truths_in_records() -> None:
    assert np.array_equal(one([True, None, False]), [1, np.nan, 0], equal_nan=True)
    assert [record["x"] for _, record in source(body_of(x=[True, None, False])).records()] == [
        True,
        None,
        False,
    ]


def test_records_have_exact_integers() -> None:
    body = body_of(x=pa.array([2**63 + 1, None], pa.uint64()), y=pa.array([2**53 + 1, None]))
    assert [record for _, record in source(body).records()] == [
        {"x": 2**63 + 1, "y": 2**53 + 1},
        {"x": None, "y": None},
    ]


def test_a_column_of_nulls_is_missing_everywhere() -> None:
    assert np.isnan(one(pa.nulls(3))).all()
    assert one(pa.nulls(3, pa.string())).tolist() == ["", "", ""]
    assert np.isnat(one(pa.nulls(3, pa.timestamp("us")))).all()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "+00:00"])
def test_times_of_every_unit_are_utc_seconds(unit: str, zone: str | None) -> None:
    moment = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)
    column = pa.array([moment, None], pa.timestamp(unit, zone or "UTC"))
    if zone is None:
        column = column.cast(pa.timestamp(unit))
    result = one(column)
    assert result.dtype == np.dtype("datetime64[s]")
    assert str(result[0]) == "2024-02-29T23:59:58"
    assert np.isnat(result[1])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Europe/Berlin", "2024-03-01T00:59:58+0100"),
        ("America/St_Johns", "2024-02-29T20:29:58-0330"),
        ("+05:30", "2024-03-01T05:29:58+0530"),
    ],
)
def test_times_in_a_zone_keep_their_offset(unit: str, zone: str, text: str) -> None:
    moment = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)
    assert one(pa.array([moment, None], pa.timestamp(unit, zone))).tolist() == [text, ""]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_fractions_of_a_second_are_kept(zone: str | None) -> None:
    moment = datetime(2024, 2, 29, 23, 59, 58, 250_000, tzinfo=UTC)
    column = pa.array([moment], pa.timestamp("ms", zone or "UTC"))
    assert "58.25" in str(one(column if zone else column.cast(pa.timestamp("ms")))[0])


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_dates_before_and_after_the_epoch(kind: Any) -> None:
    days = [date(1900, 2, 28), None, date(2100, 3, 1)]
    assert [str(day)[:10] for day in one(pa.array(days, kind))] == ["1900-02-28", "NaT", "2100-03-01"]


@pytest.mark.parametrize("values", [["x", None], [1, 2], [1.5, None]])
def test_dictionaries_are_read_as_what_they_hold(values: list[Any]) -> None:
    plain, coded = one(values), one(pa.array(values).dictionary_encode())
    assert plain.dtype == coded.dtype
    assert repr(plain.tolist()) == repr(coded.tolist())


def test_rows_as_records_of_python_values() -> None:
    body = body_of(group=1, text=["a", None], label=[1, 2])
    result = list(source(body).records())
    assert result == [(1, {"text": "a", "label": 1}), (2, {"text": "", "label": 2})]
    assert type(result[0][1]["label"]) is int


def test_columns_are_renamed_and_left_out() -> None:
    body = body_of(__index=[0], day=["d"], y=[1], high=[2])
    assert list(joined(body, ds="day", y="high")) == ["__index", "ds", "y"]


def test_a_type_that_is_not_read_matters_only_where_it_is_used() -> None:
    nested = pa.array([[1, 2]])
    [problem] = refused(body_of(y=nested, ds=["d"]))
    assert problem.pointer == "/file/column/y"
    assert problem.detail.startswith("Columns of type list<")
    assert list(joined(body_of(y=nested, high=[1]), y="high")) == ["y"]
    for other in (pa.array([b"x"]), pa.array([timedelta(1)]), pa.array([{"a": 1}])):
        assert "are not read" in refused(body_of(x=other))[0].detail


def test_columns_of_the_same_name_are_reported() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table([pa.array([1]), pa.array([2]), pa.array([3])], ["y", "y", "ds"]), sink)
    assert refused(sink.getvalue()) == [("/file/column/y", "The file has this column 2 times.")]


def test_a_name_with_a_nul_is_refused() -> None:
    odd: dict[str, Any] = {"a\0": [2.0]}
    assert "NUL" in refused(body_of(y=[1.0], **odd))[0].detail


def test_a_table_without_rows_gives_no_rows() -> None:
    assert sum(len(chunk.rows) for chunk in source(body_of(y=pa.array([], pa.float64()))).chunks()) == 0


@pytest.mark.parametrize("keep", [0, 3, 11, 40, -1])
def test_a_file_cut_short_is_reported(keep: int) -> None:
    [problem] = refused(body_of(y=[1.0, 2.0])[:keep])
    assert (problem.pointer, problem.detail) == ("/file", "This is not a complete Parquet file.")


def test_limits_are_checked_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    body = body_of(a=[1.0] * 50, b=[2.0] * 50)
    monkeypatch.setattr(parquet, "MAX_COLUMNS", 1)
    assert "2 columns; at most 1" in refused(body)[0].detail
    monkeypatch.setattr(parquet, "MAX_COLUMNS", 2)
    monkeypatch.setattr(parquet, "MAX_ROWS", 49)
    assert "50 rows of 2 columns" in refused(body)[0].detail
    monkeypatch.setattr(parquet, "MAX_ROWS", 50)
    assert len(joined(body)["a"]) == 50
    monkeypatch.setattr(parquet, "MAX_UNCOMPRESSED_BYTES", 10)
    assert "too large" in refused(body)[0].detail
