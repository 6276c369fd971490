import io
import json
from dataclasses import dataclass
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

from app.errors import DatasetInvalid
from app.ingest.readers import Mapping, open_source
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.table import read_series
from app.tasks.forecasting.series import SeriesSet
from app.tasks.source import Chunk, Faults
from app.typedefs import Json
from tests.support.fakes.sources import MemorySource

DIRECTORY = TemporaryDirectory()  # for properties, which share no fixture between examples


def chunks_of(parts: list[dict[str, list[Any]]], dtypes: dict[str, Any]) -> list[Chunk]:
    """Consecutive chunks of a table below a header line; text unless a column has a dtype."""
    chunks, row = [], 2
    for part in parts:
        count = len(next(iter(part.values())))
        columns = {name: np.array(values, dtypes.get(name, object)) for name, values in part.items()}
        chunks.append(Chunk(np.arange(row, row + count), columns))
        row += count
    return chunks


def read(
    parts: dict[str, list[Any]] | list[dict[str, list[Any]]], **dtypes: Any
) -> tuple[SeriesSet, Json, list[str]]:
    faults = Faults()
    tables = chunks_of(parts if isinstance(parts, list) else [parts], dtypes)
    result = read_series(MemorySource("csv", tables), faults)
    faults.check()
    json.dumps(result[1], allow_nan=False)
    return result


def days(count: int, start: str = "2024-01-01") -> list[str]:
    ordinal, _ = Frequency.parse("D").locate(start)
    return [str(day) for day in Frequency.parse("D").stamps(ordinal, count)]


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def pointers(parts: dict[str, list[Any]] | list[dict[str, list[Any]]]) -> list[tuple[str, str]]:
    with pytest.raises(DatasetInvalid) as caught:
        read(parts)
    return [(problem.pointer, problem.detail) for problem in caught.value.problems]


def test_interleaved_series_are_sorted_out_in_order_of_appearance() -> None:
    ids = ["b", "a"] * 5
    stamps = [day for day in days(5) for _ in range(2)]
    series, summary, warnings = read({"unique_id": ids, "ds": stamps, "y": numbers(10)})
    assert series.ids.tolist() == ["b", "a"]
    assert series.values.tolist() == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]
    assert series.offsets.tolist() == [0, 5, 10]
    assert (summary["series"], summary["rows"], summary["frequency"], warnings) == (2, 10, "D", [])


def test_without_ids_there_is_one_series() -> None:
    series, _, _ = read({"ds": days(4), "y": numbers(4)})
    assert series.ids.tolist() == ["series"]


@pytest.mark.parametrize("text", ["", " ", "NaN", "nan", "NA", "null", "None"])
def test_missing_values_are_masked(text: str) -> None:
    series, summary, _ = read({"ds": days(5), "y": ["1", text, "3", "4e0", " +5 "]})
    assert np.array_equal(series.values, [1, np.nan, 3, 4, 5], equal_nan=True)
    assert summary["missing_share"] == 0.2


def test_gaps_become_missing_and_are_counted_in_a_warning() -> None:
    stamps = days(10)
    present = [0, 1, 2, 5, 6, 9]
    series, summary, [warning] = read({"ds": [stamps[index] for index in present], "y": numbers(6)})
    assert np.flatnonzero(~np.isnan(series.values)).tolist() == present
    assert warning.startswith("4 time stamps of 1 series")
    assert (summary["rows"], summary["longest"], summary["missing_share"]) == (6, 10, 0.4)


def test_the_summary_has_lengths_span_and_seasons() -> None:
    parts = {"unique_id": ["a"] * 9 + ["b"] * 4, "ds": [*days(9), *days(4, "2024-03-01")], "y": numbers(13)}
    _, summary, _ = read(parts)
    assert (summary["shortest"], summary["longest"], summary["longest_train"]) == (4, 9, 9)
    assert summary["span"] == {"start": "2024-01-01", "end": "2024-03-04"}
    assert summary["seasons"] == [7]
    assert summary["split"] is None


def test_the_span_has_the_time_of_day() -> None:
    _, summary, _ = read({"ds": [f"{day}T16:00:00+01:00" for day in days(8)], "y": numbers(8)})
    assert summary["span"] == {"start": "2024-01-01T15:00:00Z", "end": "2024-01-08T15:00:00Z"}


def test_splits_are_on_the_grid_and_limit_the_training_length() -> None:
    stamps = days(10)
    del stamps[4]
    splits = ["train"] * 5 + ["valid"] * 2 + ["test"] * 2
    series, summary, _ = read({"ds": stamps, "y": numbers(9), "split": splits})
    assert series.splits.tolist() == [1, 1, 1, 1, 1, 1, 2, 2, 3, 3]
    assert summary["split"] == {"train": 6, "valid": 2, "test": 2}
    assert (summary["longest"], summary["longest_train"]) == (10, 6)


def test_integer_time() -> None:
    series, summary, _ = read({"ds": ["-1", "0", "1", "4"], "y": numbers(4)})
    assert (series.freq, series.starts.tolist(), len(series.values)) == ("1", [-1], 6)
    assert summary["span"] == {"start": -1, "end": 4}


def test_integer_time_with_a_step() -> None:
    series, summary, _ = read({"ds": [100, 110, 130], "y": [1.0, 2.0, 3.0]}, ds=np.int64, y=np.float64)
    assert np.array_equal(series.values, [1, 2, np.nan, 3], equal_nan=True)
    assert (summary["frequency"], summary["span"]) == ("10", {"start": 100, "end": 130})


@pytest.mark.parametrize(
    ("stamps", "frequency", "start"),
    [
        (["1999", "2000", "2001"], "YS-JAN", "1999-01-01"),
        (["19991231", "20000101", "20000102"], "D", "1999-12-31"),
        (["2000Q4", "2001Q1", "2001Q2"], "QS-JAN", "2000-10-01"),
        (["2000-12", "2001-01", "2001-02"], "MS", "2000-12-01"),
    ],
)
def test_digits_may_be_dates(stamps: list[str], frequency: str, start: str) -> None:
    _, summary, _ = read({"ds": stamps, "y": numbers(3)})
    assert (summary["frequency"], summary["span"]["start"]) == (frequency, start)


def test_months_without_a_hyphen_are_no_counter() -> None:
    [(pointer, detail), *_] = pointers({"ds": ["202311", "202312", "202401"], "y": numbers(3)})
    assert pointer == "/file/row/2/column/ds"
    assert "ISO 8601" in detail


def test_only_the_wrong_integers_are_faults() -> None:
    ds = [*numbers(5), "five", "6.5", "7"]
    problems = pointers({"ds": ds, "y": numbers(8)})
    assert [pointer for pointer, _ in problems] == ["/file/row/7/column/ds", "/file/row/8/column/ds"]


def test_faults_of_later_chunks_name_their_rows() -> None:
    parts = [{"ds": days(3), "y": numbers(3)}, {"ds": days(3, "2024-01-04"), "y": ["3", "x", "5"]}]
    assert pointers(parts)[0][0] == "/file/row/6/column/y"


def test_an_irregular_stamp_is_the_fault_even_if_it_comes_first() -> None:
    ds = ["2024-01-01T05:00", *days(9, "2024-01-02")]
    assert [pointer for pointer, _ in pointers({"ds": ds, "y": numbers(10)})] == ["/file/row/2/column/ds"]


def test_kinds_of_extra_columns() -> None:
    parts: dict[str, list[Any]] = {
        "unique_id": ["a"] * 4 + ["b"] * 4,
        "ds": days(4) * 2,
        "y": numbers(8),
        "price": ["1.5", "", "2", "3", "4", "5", "6", "7"],
        "shop": ["north"] * 4 + ["", "south", "south", "south"],
        "sky": ["sun", "rain", "", "sun", "snow", "rain", "sun", "sun"],
        "empty": [""] * 8,
    }
    series, summary, [warning] = read(parts)
    assert summary["covariates"] == {"static": ["shop"], "numeric": ["price"], "category": ["sky"]}
    assert series.static_codes.tolist() == [[0], [1]]
    assert series.static_levels == [["north", "south"]]
    assert series.covariate_levels == [[], ["sun", "rain", "snow"]]
    assert np.array_equal(series.covariates[:4, 0], [1.5, np.nan, 2, 3], equal_nan=True)
    assert np.array_equal(series.covariates[:4, 1], [0, 1, np.nan, 0], equal_nan=True)
    assert "'empty'" in warning


def test_a_column_that_becomes_text_in_a_later_chunk_is_a_category_from_the_start() -> None:
    parts = [
        {"ds": days(3), "y": numbers(3), "code": ["1", "2", "1"]},
        {"ds": days(2, "2024-01-04"), "y": numbers(2), "code": ["x", "2"]},
    ]
    series, _, _ = read(parts)
    assert series.covariate_levels == [["1", "2", "x"]]
    assert series.covariates[:, 0].tolist() == [0, 1, 0, 2, 1]


def test_too_many_texts_are_left_out_with_the_reason() -> None:
    notes = [*numbers(80), *(f"{letter}?" for letter in "abcdefghijklmnopqrst")]
    series, summary, [warning] = read({"ds": days(100), "y": numbers(100), "note": notes})
    assert summary["covariates"]["category"] == series.covariate_names == []
    assert "'a?' in row 82" in warning


def test_one_text_among_numbers_does_not_make_them_a_category() -> None:
    notes = [*numbers(60), "eh?", *numbers(39)]
    series, summary, [warning] = read({"ds": days(100), "y": numbers(100), "note": notes})
    assert summary["covariates"]["numeric"] == ["note"]
    assert np.isnan(series.covariates[:, 0]).sum() == 1
    assert "'eh?' in row 62 is no number" in warning


def test_a_text_for_a_missing_value_is_named_in_numbers_and_in_categories() -> None:
    notes = [*numbers(60), "n/a", *numbers(39)]
    land = ["DE", "NA", "US", "NA"] * 25
    series, summary, warnings = read({"ds": days(100), "y": numbers(100), "note": notes, "land": land})
    assert summary["covariates"] == {"static": [], "numeric": ["note"], "category": ["land"]}
    assert np.isnan(series.covariates).sum(axis=0).tolist() == [1, 50]
    assert warnings == [
        "In the column 'note' the text 'n/a' (first in row 62) is read as a missing value.",
        "In the column 'land' the text 'NA' (first in row 3) is read as a missing value.",
    ]


def test_a_text_that_repeats_among_few_numbers_is_a_level() -> None:
    holidays = (["0"] * 30 + ["1"] * 3 + ["a"]) * 3
    _, summary, [warning] = read({"ds": days(102), "y": numbers(102), "holiday": holidays})
    assert summary["covariates"]["category"] == ["holiday"]
    assert "'a' in row 35 is no number" in warning


@pytest.mark.parametrize("style", ["1,{:03}", "{},5", "{} %", "$ {}", "{} €"])
def test_numbers_in_a_style_that_is_not_read_are_named(style: str) -> None:
    prices = [style.format(day % 9) for day in range(100)]
    _, summary, [warning] = read({"ds": days(100), "y": numbers(100), "price": prices})
    assert summary["covariates"]["category"] == ["price"]
    assert f"read as a category: {prices[0]!r} in row 2 is no number" in warning


def test_one_name_among_numbered_shops_is_a_name() -> None:
    ids = [name for name in ("a", "b", "c") for _ in range(40)]
    shops = ["1"] * 40 + ["2"] * 40 + ["X4"] * 40
    _, summary, warnings = read({"unique_id": ids, "ds": days(40) * 3, "y": numbers(120), "shop": shops})
    assert (summary["covariates"]["static"], warnings) == (["shop"], [])


def test_whole_numbers_too_large_for_a_float_are_names() -> None:
    large = [str(2**63 + offset) for offset in (1, 2)]
    ids = [name for name in large for _ in range(10)]
    columns = {"unique_id": ids, "ds": days(10) * 2, "y": numbers(20), "shop": ids}
    series, summary, warnings = read(columns)
    assert series.ids.tolist() == large
    assert (summary["covariates"]["static"], series.static_levels, warnings) == (["shop"], [large], [])


def test_covariates_that_go_on_after_the_values_are_known_ahead() -> None:
    parts = {
        "ds": days(6),
        "y": ["1", "2", "3", "4", "", ""],
        "promo": numbers(6),
        "wind": ["1", "2", "3", "4", "5", ""],
    }
    series, summary, [warning] = read(parts)
    assert series.known_ahead == summary["known_ahead"] == ["promo"]
    assert (summary["longest"], summary["missing_share"], len(series.values)) == (4, 0.0, 6)
    assert "promo" in warning


def test_a_value_missing_at_the_end_of_one_series_of_two_means_nothing() -> None:
    parts = {
        "unique_id": ["a"] * 4 + ["b"] * 4,
        "ds": days(4) * 2,
        "y": [*numbers(7), ""],
        "wind": numbers(8),
    }
    assert read(parts)[0].known_ahead == []


def test_short_series_are_read_with_a_warning() -> None:
    series, summary, [warning] = read(
        {"unique_id": ["a"] * 5 + ["b"], "ds": [*days(5), "2024-01-01"], "y": numbers(6)}
    )
    assert (summary["series"], len(series.ids), summary["shortest"]) == (2, 2, 1)
    assert warning == "1 series have fewer than 3 observed values."


def test_typed_columns_are_read_as_text_would_be() -> None:
    parts: dict[str, list[Any]] = {
        "unique_id": [7, 7, 7, 7],
        "ds": ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-05"],
        "y": [1.0, np.nan, 3.0, 4.0],
        "when": ["2024-01-01"] * 4,
        "x": [1, 2, 3, 4],
    }
    types = {
        "unique_id": np.int64,
        "ds": "datetime64[s]",
        "y": np.float64,
        "when": "datetime64[s]",
        "x": np.int64,
    }
    series, summary, warnings = read(parts, **types)
    assert series.ids.tolist() == ["7"]
    assert (summary["frequency"], len(series.values)) == ("D", 5)
    assert summary["covariates"]["numeric"] == ["x"]
    assert any("'when'" in warning for warning in warnings)


def test_arrays_hold_no_object_and_come_back() -> None:
    parts = {"ds": days(4), "y": numbers(4), "sky": ["sun", "rain", "sun", "fog"]}
    series, _, _ = read(parts)
    arrays = series.arrays()
    assert all(array.dtype != object for array in arrays.values())
    assert_same(SeriesSet.from_arrays(arrays), series)


def assert_same(one: SeriesSet, other: SeriesSet) -> None:
    ours, theirs = one.arrays(), other.arrays()
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        exact = array.dtype.kind not in "f"
        assert np.array_equal(array, theirs[name], equal_nan=not exact), name


@dataclass(frozen=True)
class Drawn:
    """Random regular series with holes."""

    frequency: Frequency
    start: int
    values: list[npt.NDArray[np.float64]]


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    frequency = Frequency.parse(
        draw(st.sampled_from(["15min", "h", "D", "W-SUN", "MS", "ME", "QS-JAN", "YS-JAN"]))
    )
    values = []
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(6, 30))
        value = st.floats(-1e9, 1e9, allow_subnormal=False) | st.just(np.nan)
        series = np.array(draw(st.lists(value, min_size=length, max_size=length)))
        series[[0, 1, 2, 3, -2, -1]] = [1, 2, 3, 4, 5, 6]  # so that the frequency can be inferred
        values.append(series)
    return Drawn(frequency, draw(st.integers(0, 300)) + int(frequency.locate("2001-01-07")[0]), values)


def through(body: bytes, format_: str) -> SeriesSet:
    path = Path(DIRECTORY.name) / "content"
    path.write_bytes(body)
    faults = Faults()
    return read_series(open_source(path, format_, Mapping({}), faults), faults)[0]


@given(drawn(), st.booleans())
def test_the_same_series_come_from_every_format(case: Drawn, leave_out: bool) -> None:
    lines, items = [], []
    for number, values in enumerate(case.values):
        stamps = case.frequency.stamps(case.start, len(values))
        for stamp, value in zip(stamps, values.tolist(), strict=True):
            if not (leave_out and np.isnan(value)):
                lines.append((f"s{number}", str(stamp), None if np.isnan(value) else value))
        target = [None if np.isnan(value) else value for value in values.tolist()]
        items.append(
            {"item_id": f"s{number}", "start": stamps[0], "freq": case.frequency.alias, "target": target}
        )
    text = "".join(f"{name},{stamp},{'' if value is None else repr(value)}\n" for name, stamp, value in lines)
    sink = io.BytesIO()
    names, stamps, numbers_ = (list(column) for column in zip(*lines, strict=True))
    pq.write_table(pa.table({"unique_id": names, "ds": stamps, "y": numbers_}), sink)
    from_csv = through(f"unique_id,ds,y\n{text}".encode(), "csv")
    assert_same(from_csv, through("".join(json.dumps(one) + "\n" for one in items).encode(), "jsonl"))
    assert_same(from_csv, through(sink.getvalue(), "parquet"))
    assert from_csv.freq == case.frequency.alias
    assert np.array_equal(from_csv.values, np.concatenate(case.values), equal_nan=True)


def faults_of(text: str) -> list[tuple[str, str]]:
    """Pointers without their beginning, and details, of the faults of a CSV."""
    path, faults = Path(DIRECTORY.name) / "faulty.csv", Faults()
    path.write_text(text)
    with pytest.raises(DatasetInvalid) as caught:
        read_series(open_source(path, "csv", Mapping({}), faults), faults)
    return [(one.pointer.removeprefix("/file/row/"), one.detail) for one in caught.value.problems]


def test_a_short_row_hides_no_other_fault() -> None:
    lines = [f"{day},{number}" for number, day in enumerate(days(60))]
    lines[3], lines[10], lines[20] = "2024-01-04", "2024-01-11,high", "2024-01-20,5"
    lines[30], lines[40] = "2024-02-30,5", "2024-02-10 07:00,5"
    faults = faults_of("\n".join(["ds,y", *lines]))
    assert [(pointer, detail.split()[0]) for pointer, detail in faults] == [
        ("5", "Expected"),
        ("12/column/y", "'high'"),
        ("22/column/ds", "Duplicate"),
        ("32/column/ds", "'2024-02-30'"),
        ("42/column/ds", "Mixed"),
    ]


def test_where_many_rows_are_faulty_only_duplicates_are_certain() -> None:
    faults = faults_of("ds,y\n2024-01-01,1\n2024-01-02\n2024-01-03,x\n2024-01-03,3\n2024-09-01,4\n")
    assert [pointer for pointer, _ in faults] == ["3", "4/column/y", "5/column/ds"]


def test_a_table_as_german_excel_writes_it() -> None:
    path, faults = Path(DIRECTORY.name) / "excel.csv", Faults()
    rows = [
        f'{day:02d}.01.2024;"Köln; Mitte";{day}.234,5;{day},25;{"A" if day < 9 else "B"}'
        for day in range(1, 20)
    ]
    path.write_text("\ufeff" + "\r\n".join(["ds;unique_id;y;price;kind", *rows]), newline="")
    series, summary, warnings = read_series(open_source(path, "csv", Mapping({}), faults), faults)
    faults.check()
    assert series.ids.tolist() == ["Köln; Mitte"]
    assert series.values[:2].tolist() == [1234.5, 2234.5]
    assert series.covariates[:2, 0].tolist() == [1.25, 2.25]
    assert (summary["frequency"], summary["span"]["start"]) == ("D", "2024-01-01")
    assert warnings == [
        "Commas in numbers are read as decimal commas, such as that of '1.234,5' (row 2, column 'y').",
        "Dates such as '01.01.2024' are read as day.month.year.",
    ]


def test_a_category_keeps_its_commas() -> None:
    path, faults = Path(DIRECTORY.name) / "excel.csv", Faults()
    rows = [f"2024-01-{day:02d};{day},5;{'1,5' if day % 2 else 'none so far'}" for day in range(1, 20)]
    path.write_text("\n".join(["ds;y;size", *rows]))
    series, _, _ = read_series(open_source(path, "csv", Mapping({}), faults), faults)
    assert series.covariate_levels == [["1,5", "none so far"]]
