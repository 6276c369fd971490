from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.timestamps import join_timestamps, parse_times, parse_timestamps, timestamp_problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-29", "2024-02-29T00:00:00"),
        ("2024/2/9", "2024-02-09T00:00:00"),
        ("2024/02/09 7:05", None),
        ("2024/02/09 07:05", "2024-02-09T07:05:00"),
        ("2024-02-09T07:05:06", "2024-02-09T07:05:06"),
        ("2024-02-09 07:05:06.987654", "2024-02-09T07:05:06"),
        ("2024-02-09T07:05:06Z", "2024-02-09T07:05:06"),
        ("2024-02-09T00:30:00+01:00", "2024-02-08T23:30:00"),
        ("2024-02-09T00:30-0330", "2024-02-09T04:00:00"),
        ("2024-02-09T00:30:00.5 +05", "2024-02-08T19:30:00"),
        ("2024-03", "2024-03-01T00:00:00"),
        ("1066", "1066-01-01T00:00:00"),
        ("2024Q3", "2024-07-01T00:00:00"),
        ("2024-q4", "2024-10-01T00:00:00"),
        ("20240229", "2024-02-29T00:00:00"),
        (" 2024-01-31 ", "2024-01-31T00:00:00"),
        ("20240229T070506Z", "2024-02-29T07:05:06"),
        ("20240229T0705", "2024-02-29T07:05:00"),
        ("2024022907", "2024-02-29T07:00:00"),
        ("202402290705", "2024-02-29T07:05:00"),
        ("20240229070506", "2024-02-29T07:05:06"),
        ("20240230070506", None),
        ("1709190306", "2024-02-29T07:05:06"),
        ("1709190306.0", "2024-02-29T07:05:06"),
        ("946684800", "2000-01-01T00:00:00"),
        ("946684800000", "2000-01-01T00:00:00"),
        ("1709190306987", "2024-02-29T07:05:06"),
        ("1709190306987654", "2024-02-29T07:05:06"),
        ("1709190306987654321", "2024-02-29T07:05:06"),
        ("9999999999", None),
        ("100000000", None),
        ("9999999999999999999", None),
        ("29.02.2024", "2024-02-29T00:00:00"),
        ("9.2.2024", "2024-02-09T00:00:00"),
        ("09.02.2024 07:05", "2024-02-09T07:05:00"),
        ("09.02.2024 07:05:06", "2024-02-09T07:05:06"),
        ("02.29.2024", None),
        ("30.02.2024", None),
        ("1.2.24", None),
        ("20230229", None),
        ("2024-13-01", None),
        ("2024-00-01", None),
        ("2024-01-00", None),
        ("2024-01-32", None),
        ("2024-01-01T24:00:00", None),
        ("2024-01-01T23:60:00", None),
        ("2024-01-01T23:59:60", None),
        ("2024-01-01T00:00:00+99:00", None),
        ("2024Q5", None),
        ("2024-01/02", None),
        ("Jan 2024", None),
        ("٢٠٢٤", None),
        ("2024-01-01T00:00:00Z and more, far beyond what any date takes", None),
    ],
)
def test_layouts(text: str, expected: str | None) -> None:
    parsed = parse_timestamps(np.array([text], object)).utc[0]
    assert np.isnat(parsed) if expected is None else str(parsed) == expected


def test_offsets_fractions_and_ticks_are_kept() -> None:
    texts = [
        "2024-01-01T00:00+01:00",
        "2024-01-01 00:00:00.000",
        "2024-01-01 00:00:00.001",
        "1709190306987",
        "?",
    ]
    parsed = parse_timestamps(np.array(texts, object))
    assert parsed.offsets.tolist() == [3600, 0, 0, 0, 0]
    assert parsed.fractional.tolist() == [False, False, True, True, False]
    assert parsed.ticks.tolist() == [0, 0, 0, 1000, 0]
    assert str(parsed.local[0]) == "2024-01-01T00:00:00"
    assert join_timestamps([parsed, parsed.take(np.array([0]))]).offsets.tolist() == [3600, 0, 0, 0, 0, 3600]


def test_integers_are_years_or_compact_dates() -> None:
    assert str(parse_times([2024]).utc[0]) == "2024-01-01T00:00:00"
    assert str(parse_times([20240131]).utc[0]) == "2024-01-31T00:00:00"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("01/02/2024", "ambiguous"),
        ("1.2.24", "ambiguous"),
        ("31-12-2024 09:00", "ambiguous"),
        ("2024-02-30", "calendar"),
        ("30.02.2024", "calendar"),
        ("noon", "ISO 8601"),
        ("  ", "missing"),
        ("x" * 1000, "ISO 8601"),
    ],
)
def test_a_refusal_is_a_sentence(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        parse_times([text])
    assert str(caught.value) == timestamp_problem(text)
    assert len(timestamp_problem(text)) < 200


def test_a_column_of_many_layouts_is_read_row_by_row() -> None:
    texts = ["2024-01-01", "rubbish", "2024Q2", "2024-01-03", "", "2024-01-01T12:00:00Z", "more rubbish"]
    parsed = parse_timestamps(np.array(texts, object)).utc
    assert [str(timestamp)[:13] for timestamp in parsed[[0, 2, 3, 5]]] == [
        "2024-01-01T00",
        "2024-04-01T00",
        "2024-01-03T00",
        "2024-01-01T12",
    ]
    assert np.isnat(parsed[[1, 4, 6]]).all()
    assert len(parse_timestamps(np.array([], object)).utc) == 0


@given(st.lists(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), max_size=20))  # noqa: DTZ001
def test_iso_text_is_read_as_python_reads_it(moments: list[datetime]) -> None:
    parsed = parse_timestamps(np.array([moment.isoformat() for moment in moments], object)).utc
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    expected = [(moment.replace(tzinfo=UTC, microsecond=0) - epoch).total_seconds() for moment in moments]
    assert parsed.astype(np.int64).tolist() == expected


@given(st.lists(st.text(max_size=60), max_size=30))
def test_any_text_is_a_date_or_none(texts: list[str]) -> None:
    parsed = parse_timestamps(np.array(texts, object)).utc
    assert len(parsed) == len(texts)
    assert all(
        timestamp_problem(text) for text, timestamp in zip(texts, parsed, strict=True) if np.isnat(timestamp)
    )
