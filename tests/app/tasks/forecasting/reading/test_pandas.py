"""Series on the calendars of pandas are read, and go on, as pandas has them."""

import warnings

import numpy as np
import pandas as pd
import pytest

from app.arrays import Array
from app.tasks.forecasting.calendars.aliases import MONTHS, WEEKDAYS
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.table import read_series
from app.tasks.forecasting.series import SeriesSet
from app.tasks.source import Chunk, Faults
from tests.support.fakes.sources import MemorySource

ALIASES = [
    *("s", "10s", "min", "15min", "45min", "h", "2h", "6h", "36h", "1h30min", "D", "2D", "3D", "7D", "28D"),
    *(
        "30D",
        "45D",
        "90D",
        "365D",
        "B",
        "2B",
        "3B",
        "4B",
        "5B",
        "ME",
        "MS",
        "BME",
        "BMS",
        "2ME",
        "2MS",
        "5MS",
    ),
    *(
        "2BMS",
        "3BMS",
        "6MS",
        "12MS",
        "SME",
        "SMS",
        "SMS-2",
        "SMS-10",
        "SMS-27",
        "SME-1",
        "SME-20",
        "QE",
        "QS",
    ),
    *("BQE", "BQS", "2QS", "2QE", "YE", "YS", "BYE", "BYS", "2YS", "2YE", "3BYE", "2WOM-3FRI"),
    *(f"{count}W-{day}" for day in WEEKDAYS for count in ("", "2")),
    *(f"{name}-{month}" for name in ("QE", "BQS", "YE", "BYS") for month in MONTHS[1::3]),
    *(f"WOM-{week}{day}" for week, day in ((1, "MON"), (2, "TUE"), (3, "FRI"), (4, "SUN"))),
]
STARTS = ("2023-11-15", "2020-02-29 16:00")
ZONES = (None, "Europe/Berlin", "America/New_York", "Asia/Kolkata")
ROWS, BEYOND = 44, 8


def read(stamps: pd.DatetimeIndex) -> SeriesSet:
    columns = {
        "ds": np.array([str(stamp) for stamp in stamps], object),
        "y": np.array([str(number) for number in range(len(stamps))], object),
    }
    rows = np.arange(2, 2 + len(stamps))
    series, summary, texts = read_series(MemorySource("csv", [Chunk(rows, columns)]), Faults())
    assert (summary["rows"], summary["longest"], summary["missing_share"], texts) == (ROWS, ROWS, 0, [])
    return series


def wall(stamps: pd.DatetimeIndex) -> Array:
    return np.asarray(stamps.tz_localize(None), "datetime64[s]")


def utc(stamps: pd.DatetimeIndex) -> Array:
    return wall(stamps.tz_convert("UTC") if stamps.tz else stamps)


@pytest.mark.parametrize("alias", ALIASES)
def test_a_regular_series_goes_on_as_pandas_continues_it(alias: str) -> None:
    for start in STARTS:
        for zone in ZONES:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                stamps = pd.date_range(start, periods=ROWS + BEYOND, freq=alias, tz=zone)
            series = read(stamps[:ROWS])
            frequency = Frequency.parse(series.freq)
            expected = wall(stamps) if frequency.is_calendar else utc(stamps)
            ordinals = int(series.starts[0]) + np.arange(ROWS + BEYOND)
            assert np.array_equal(frequency.times(ordinals, int(series.phases[0])), expected), (start, zone)


@pytest.mark.parametrize("alias", ALIASES)
def test_a_request_goes_on_from_its_start_as_pandas_does(alias: str) -> None:
    frequency = Frequency.parse(alias)
    for start in STARTS:
        stamps = pd.date_range(start, periods=20, freq=alias)
        for first in (0, 7):
            ordinal, phase = frequency.locate(str(stamps[first]))
            times = frequency.times(ordinal + np.arange(10), phase)
            assert np.array_equal(times, wall(stamps[first : first + 10])), (start, first)


def test_absolute_days_in_a_zone_are_not_days_of_its_clock() -> None:
    stamps = pd.date_range("2024-02-28 16:00", periods=ROWS, freq="24h", tz="Europe/Berlin")
    series = read(stamps)
    assert series.freq == "D"
    ordinals = int(series.starts[0]) + np.arange(ROWS)
    assert np.array_equal(Frequency.parse("D").times(ordinals, int(series.phases[0])), utc(stamps))
