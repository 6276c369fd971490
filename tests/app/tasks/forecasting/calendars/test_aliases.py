import warnings

import pandas as pd
import pytest
from pandas.tseries.frequencies import to_offset

from app.tasks.forecasting.calendars.aliases import MONTHS, WEEKDAYS, read_alias

SPELLINGS = [
    *("s", "S", "min", "MIN", "T", "t", "h", "H", "D", "d", "B", "b", "W", "w", "w-mon", "q", "Q", "y", "Y"),
    *("M", "ME", "MS", "A", "AS", "QE", "QS", "qs", "YE", "YS", "SM", "SME", "SMS", "sms-10", "SME-20"),
    *(
        "BM",
        "BME",
        "BMS",
        "bms",
        "BQ",
        "BQE",
        "BQS",
        "BQS-FEB",
        "BA",
        "BAS",
        "BY",
        "BYE",
        "BYS-MAR",
        "QS-feb",
    ),
    *(
        "WOM-1MON",
        "WOM-3FRI",
        "2WOM-4TUE",
        "2W",
        "2B",
        "5B",
        "3MS",
        "12BME",
        "2SMS",
        "24h",
        "1000ms",
        "3000000us",
    ),
    *("1.5h", "0.5D", "1h30min", "1D12h", "1D 12h", "1h 30min", "D D", " 2 h "),
    *(f"W-{day}" for day in WEEKDAYS),
    *(f"{name}-{month}" for name in ("QE", "BQS", "YS", "BYE") for month in MONTHS),
]


@pytest.mark.parametrize("alias", SPELLINGS)
def test_an_alias_means_what_it_means_in_pandas(alias: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # pandas has new names for some
        theirs = pd.date_range("2023-12-31", periods=40, freq=alias)
        ours = pd.date_range("2023-12-31", periods=40, freq=read_alias(alias).alias)
        assert theirs.equals(ours)
        assert to_offset(alias) is not None


@pytest.mark.parametrize(
    ("alias", "reason"),
    [
        *((alias, "milliseconds") for alias in ("ms", "1ms", "10ms", "100ms", "Ms", "mS", "L", "5l")),
        *((alias, "microseconds") for alias in ("us", "U", "10us")),
        *((alias, "nanoseconds") for alias in ("ns", "N")),
        ("1500ms", "fractions of a second"),
        ("0.5s", "fractions of a second"),
        ("m", "minutes or months"),
        ("15m", "minutes or months"),
        ("bh", "business hours"),
        ("2BH", "business hours"),
        ("C", "holidays"),
        ("CBMS", "holidays"),
        ("REQ-N-DEC-MON-1", "fiscal"),
        ("-1D", "must be positive"),
        ("0h", "must be positive"),
        ("1.5MS", "is not a frequency"),
        ("ME-JAN", "is not a frequency"),
        ("WOM-5MON", "is not a frequency"),
        ("SMS-1", "is not a frequency"),
        ("SMS-28", "is not a frequency"),
        ("1mo", "is not a frequency"),
        ("9999999D", "is not a frequency"),
    ],
)
def test_other_aliases_are_refused_with_the_true_reason(alias: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_alias(alias)
    assert str(caught.value).startswith(repr(alias))


def test_months_and_milliseconds_differ_by_case_only() -> None:
    assert read_alias("100MS").unit == "M"
    with pytest.raises(ValueError, match="milliseconds"):
        read_alias("100ms")
