"""Calendars of real businesses: months by any day, clocks of a place, and mistakes told where they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.errors import DatasetInvalid, Problem
from app.ingest.readers import Mapping, open_source
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.table import read_series
from app.tasks.forecasting.series import SeriesSet
from app.tasks.source import Chunk, Faults
from app.typedefs import Json
from tests.support.fakes.sources import MemorySource


def table(stamps: list[Any] | dict[str, list[Any]], dtype: Any = object) -> MemorySource:
    """One series, or several by id one behind the other, from line 2 on."""
    groups = stamps if isinstance(stamps, dict) else {"shop": stamps}
    times = [stamp for group in groups.values() for stamp in group]
    texts = times if dtype is not object else [str(time) for time in times]
    columns = {
        "unique_id": np.array([name for name, group in groups.items() for _ in group], object),
        "ds": np.array(texts, dtype),
        "y": np.array([str(number) for number in range(len(times))], object),
    }
    return MemorySource("csv", [Chunk(np.arange(2, 2 + len(times)), columns)])


def read(stamps: list[Any] | dict[str, list[Any]], dtype: Any = object) -> tuple[SeriesSet, Json, list[str]]:
    return read_series(table(stamps, dtype), Faults())


def refused(stamps: list[Any] | dict[str, list[Any]]) -> list[Problem]:
    with pytest.raises(DatasetInvalid) as caught:
        read(stamps)
    return caught.value.problems


def next_stamps(series: SeriesSet, count: int) -> list[Any]:
    """The time stamps behind the last point of the first series."""
    end = int(series.starts[0] + series.offsets[1])
    return list(Frequency.parse(series.freq).stamps(end, count, int(series.phases[0])))


def days(start: str, periods: int, freq: str = "D") -> list[str]:
    return [str(stamp.date()) for stamp in pd.date_range(start, periods=periods, freq=freq)]


def test_the_thirtieth_of_each_month_is_the_last_of_february() -> None:
    stamps = ["2023-11-30", "2023-12-30", "2024-01-30", "2024-02-29", "2024-03-30", "2024-04-30"]
    series, summary, warnings = read(stamps)
    assert (summary["frequency"], summary["longest"], warnings) == ("MS", 6, [])
    assert next_stamps(series, 10)[-1] == "2025-02-28"
    assert next_stamps(series, 2) == ["2024-05-30", "2024-06-30"]


@pytest.mark.parametrize("name", ["BMS", "BME", "BQE-DEC", "BQS-JAN", "WOM-3FRI", "QE-DEC"])
def test_business_calendars_keep_their_name(name: str) -> None:
    stamps = days("2019-01-01", 40, name)
    series, summary, _ = read(stamps[:36])
    assert (summary["frequency"], summary["longest"]) == (name, 36)
    assert next_stamps(series, 4) == stamps[36:]


def test_the_last_friday_of_each_month() -> None:
    weeks = pd.date_range("2022-01-01", "2024-12-31", freq="W-FRI")
    fridays = [friday for friday in weeks if (friday + pd.Timedelta(days=7)).month != friday.month]
    series, summary, _ = read([str(stamp.date()) for stamp in fridays[:30]])
    assert (summary["frequency"], summary["longest"]) == ("LWOM-FRI", 30)
    assert next_stamps(series, 2) == [str(stamp.date()) for stamp in fridays[30:32]]


@pytest.mark.parametrize(("way", "shift"), [("after", 1), ("before", -1)])
def test_a_day_that_moves_off_weekends_goes_on_so(way: str, shift: int) -> None:
    months = pd.date_range("2022-01-01", periods=40, freq="MS") + pd.Timedelta(days=14)
    paydays = [
        stamp + pd.offsets.BDay(0) if way == "after" else pd.offsets.BDay().rollback(stamp)
        for stamp in months
    ]
    assert any((payday - month).days * shift > 0 for payday, month in zip(paydays, months, strict=True))
    texts = [str(payday.date()) for payday in paydays]
    series, summary, warnings = read(texts[:30])
    assert (summary["frequency"], summary["longest"], warnings) == ("MS", 30, [])
    assert next_stamps(series, 10) == texts[30:]


def test_trading_days_move_at_holidays() -> None:
    stamps = days("2019-01-01", 36, "BMS")
    moved = {"2019-01-01": "2019-01-02", "2020-01-01": "2020-01-02", "2021-01-01": "2021-01-04"}
    moved |= {"2019-10-01": "2019-10-08", "2020-10-01": "2020-10-09"}
    series, summary, [warning] = read([moved.get(stamp, stamp) for stamp in stamps])
    assert (summary["frequency"], summary["longest"], summary["missing_share"]) == ("BMS", 36, 0)
    assert warning.startswith("5 time stamps are not on the day of BMS")
    assert next_stamps(series, 1) == days("2022-01-01", 1, "BMS")


def test_months_by_any_day_are_months() -> None:
    release = [12, 14, 10, 9, 15, 11, 13, 10, 14, 12, 10, 13, 11, 16, 10, 12]
    stamps = [f"{2023 + number // 12}-{number % 12 + 1:02}-{day}" for number, day in enumerate(release)]
    series, summary, [warning] = read(stamps)
    assert (summary["frequency"], summary["longest"]) == ("MS", 16)
    assert "each stands for its month" in warning
    assert next_stamps(series, 2) == ["2024-05-01", "2024-06-01"]


@pytest.mark.parametrize("layout", ["%m/%d/%Y", "%Y%m", "%b %Y"])
def test_a_column_that_cannot_be_read_is_one_fault(layout: str) -> None:
    stamps = [stamp.strftime(layout) for stamp in pd.date_range("2024-01-01", periods=30, freq="MS")]
    [problem] = refused(stamps)
    assert problem.pointer == "/file/row/2/column/ds"
    assert "None of the 30 rows" in problem.detail


def test_one_mistake_among_month_starts_is_one_fault() -> None:
    stamps = days("2020-01-01", 48, "MS")
    stamps[20] = "2021-09-11"
    [problem] = refused(stamps)
    assert problem.pointer == "/file/row/22/column/ds"
    assert "those of MS" in problem.detail


@pytest.mark.parametrize("freq", ["h", "D", "W-WED", "ME", "QS", "BQE", "YS"])
def test_one_mistake_is_one_fault_in_every_calendar(freq: str) -> None:
    for number, row in ((20, 22), (0, 2)):
        changed = [str(stamp) for stamp in pd.date_range("1990-01-01", periods=30, freq=freq)]
        changed[number] = changed[number][:14] + "17:00"
        assert [problem.pointer for problem in refused(changed)] == [f"/file/row/{row}/column/ds"]


@pytest.mark.parametrize("freq", ["MS", "BMS", "D", "W-WED"])
@pytest.mark.parametrize("year", ["1998", "2032"])
def test_a_row_in_the_wrong_year_is_one_fault(freq: str, year: str) -> None:
    stamps = days("2020-01-01", 48, freq)
    stamps[20] = year + stamps[20][4:]
    [problem] = refused({"a": days("2020-01-01", 48, freq), "b": stamps})
    assert problem.pointer == "/file/row/70/column/ds"
    assert "the one between rows 69 and 71 is missing" in problem.detail


def test_a_row_that_comes_late_is_sorted() -> None:
    stamps = days("2020-01-01", 48)
    for late in (
        [*stamps[:20], *stamps[21:], stamps[20]],
        [*stamps[:9], stamps[10], stamps[9], *stamps[11:]],
    ):
        _, summary, [warning] = read(late)
        assert (summary["longest"], summary["missing_share"]) == (48, 0)
        assert "they are sorted" in warning


def test_a_week_moved_to_another_day_is_told_by_its_weekday() -> None:
    stamps = days("2024-01-05", 40, "W-FRI")
    stamps[12] = "2024-03-28"
    [problem] = refused(stamps)
    assert problem.pointer == "/file/row/14/column/ds"
    assert "those of W-FRI" in problem.detail


def test_one_mistake_in_a_counter_is_one_fault() -> None:
    counter = list(range(0, 480, 10))
    counter[20] = 203
    assert [problem.pointer for problem in refused(counter)] == ["/file/row/22/column/ds"]


def test_a_series_of_another_calendar_is_named() -> None:
    [problem] = refused({"start": days("2020-01-01", 24, "MS"), "end": days("2020-01-01", 24, "ME")})
    assert problem.pointer == "/file/row/26/column/ds"
    assert "series 'end' is ME, others are MS" in problem.detail
    weekly = {"a": days("2020-01-01", 60, "W-MON"), "b": days("2020-01-01", 24, "MS")}
    [problem] = refused(weekly)
    assert problem.pointer == "/file/row/62/column/ds"
    assert "'b'" in problem.detail


def test_a_year_that_is_far_off_is_the_fault_of_its_row() -> None:
    stamps = days("2020-01-01", 48)
    stamps[47] = "2220-02-17"
    [problem] = refused(stamps)
    assert problem.pointer == "/file/row/49/column/ds"
    assert "Irregular time stamps" in problem.detail


@pytest.mark.parametrize("order", [-1, 7])
def test_rows_in_another_order_are_sorted_with_a_warning(order: int) -> None:
    stamps = days("2024-01-01", 60)
    mixed = stamps[::-1] if order < 0 else [stamps[number * order % 59] for number in range(59)] + stamps[59:]
    series, summary, [warning] = read(mixed)
    assert (summary["frequency"], summary["rows"], summary["missing_share"]) == ("D", 60, 0)
    assert series.values.tolist() == [float(mixed.index(stamp)) for stamp in stamps]
    assert "not in the order of time" in warning


def test_a_duplicate_stays_a_fault_in_any_order() -> None:
    stamps = days("2024-01-01", 10)[::-1]
    stamps[3] = stamps[2]
    assert [problem.pointer for problem in refused(stamps)] == ["/file/row/5/column/ds"]


def berlin(freq: str, periods: int, hour: int = 0) -> list[str]:
    return [
        str(stamp)
        for stamp in pd.date_range(f"2024-01-01 {hour:02}:00", periods=periods, freq=freq, tz="Europe/Berlin")
    ]


@pytest.mark.parametrize(
    ("freq", "beyond"),
    [("D", "2024-07-19"), ("B", "2024-10-07"), ("W-SUN", "2027-11-07"), ("MS", "2040-09-01")],
)
def test_local_midnights_are_days(freq: str, beyond: str) -> None:
    series, summary, warnings = read(berlin(freq, 200))
    assert (summary["frequency"], summary["longest"], warnings) == (freq, 200, [])
    assert next_stamps(series, 1) == [beyond]


def test_days_in_a_zone_of_parquet_are_days(tmp_path: Path) -> None:
    stamps = pd.date_range("2024-01-01", periods=200, freq="D", tz="America/New_York")
    path = tmp_path / "content"
    pd.DataFrame({"ds": stamps, "y": range(200)}).to_parquet(path)
    series, summary, warnings = read_series(open_source(path, "parquet", Mapping({}), Faults()), Faults())
    assert (summary["frequency"], summary["longest"], warnings) == ("D", 200, [])
    assert next_stamps(series, 1) == ["2024-07-19"]


def test_local_times_of_day_go_on_by_the_clock() -> None:
    series, summary, _ = read(berlin("D", 200, hour=16))
    assert summary["span"] == {"start": "2024-01-01T16:00:00", "end": "2024-07-18T16:00:00"}
    assert next_stamps(series, 1) == ["2024-07-19T16:00:00"]


def test_local_hours_are_hours_of_utc() -> None:
    _, summary, _ = read(berlin("h", 24 * 120))
    assert (summary["frequency"], summary["longest"], summary["missing_share"]) == ("h", 24 * 120, 0)
    assert summary["span"]["start"] == "2023-12-31T23:00:00Z"


def test_local_midnights_in_utc_are_days_with_a_warning() -> None:
    stamps = pd.date_range("2024-01-01", periods=200, freq="D", tz="Europe/Berlin").tz_convert("UTC")
    _, summary, [warning] = read([str(stamp) for stamp in stamps])
    assert (summary["frequency"], summary["longest"], summary["missing_share"]) == ("D", 200, 0)
    assert "daylight saving" in warning


def test_fractions_of_a_second_are_the_reason() -> None:
    for freq in ("100ms", "1500ms", "2500ms"):
        stamps = [stamp.isoformat() for stamp in pd.date_range("2024-01-01", periods=40, freq=freq)]
        [problem] = refused(stamps)
        assert problem.detail.startswith("Fractions of a second are not read")


def test_fractions_that_change_nothing_are_cut_off_with_a_warning() -> None:
    stamps = [f"2024-01-01T00:{minute:02}:00.{minute:03}" for minute in range(40)]
    _, summary, [warning] = read(stamps)
    assert (summary["frequency"], summary["longest"]) == ("min", 40)
    assert "39 time stamps are cut off" in warning
    assert read([f"2024-01-01T00:{minute:02}:00.000Z" for minute in range(40)])[2] == []
    typed = np.array(
        ["2024-01-01T00:00:00.5", "2024-01-01T00:01:00.5", "2024-01-01T00:02:00.5"], "datetime64[ms]"
    ).tolist()
    assert "3 time stamps are cut off" in read(typed, "datetime64[ms]")[2][0]


@pytest.mark.parametrize(
    ("ticks", "name"),
    [(1, "seconds"), (10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")],
)
def test_numbers_since_1970_are_times_with_a_warning(ticks: int, name: str) -> None:
    numbers = [(1_704_067_200 + 86_400 * day) * ticks for day in range(10)]
    for dtype in (object, np.int64):
        series, summary, [warning] = read(numbers, dtype)
        assert (summary["frequency"], summary["span"]["start"]) == ("D", "2024-01-01")
        assert name in warning
    assert next_stamps(series, 1) == ["2024-01-11"]


def test_milliseconds_that_are_no_whole_seconds_are_refused() -> None:
    [problem] = refused([1_704_067_200_000 + 100 * step for step in range(20)])
    assert problem.detail.startswith("Fractions of a second are not read")


@pytest.mark.parametrize(
    ("numbers", "frequency"),
    [
        (["2024010100", "2024010101", "2024010102"], "h"),
        (["202401010000", "202401010015", "202401010030"], "15min"),
        (["20240101000000", "20240101000001", "20240101000002"], "s"),
        (["100000001", "100000002", "100000003"], "1"),
    ],
)
def test_digits_may_be_dates_with_hours(numbers: list[str], frequency: str) -> None:
    _, summary, warnings = read(numbers)
    assert (summary["frequency"], warnings) == (frequency, [])
