import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.forecasting.calendars.phases import PhaseFlag, add_flag
from app.tasks.forecasting.frequency import Frequency

ALIASES = {
    "H": "h",
    "h": "h",
    "60min": "h",
    "2h": "2h",
    "T": "min",
    "min": "min",
    "15min": "15min",
    "90min": "90min",
    "S": "s",
    "s": "s",
    "60s": "min",
    "D": "D",
    "24h": "D",
    "7D": "7D",
    "1.5h": "90min",
    "D D": "2D",
    "B": "B",
    "2B": "2B",
    "BMS": "BMS",
    "BQ": "BQE-DEC",
    "SM": "SME-15",
    "2SMS-10": "2SMS-10",
    "WOM-3FRI": "WOM-3FRI",
    "LWOM-FRI": "LWOM-FRI",
    "W": "W-SUN",
    "W-SAT": "W-SAT",
    "2W-WED": "2W-WED",
    "M": "ME",
    "ME": "ME",
    "MS": "MS",
    "2MS": "2MS",
    "Q": "QE-DEC",
    "QE": "QE-DEC",
    "QE-NOV": "QE-NOV",
    "QE-MAR": "QE-DEC",
    "QS": "QS-JAN",
    "QS-FEB": "QS-FEB",
    "Y": "YE-DEC",
    "A": "YE-DEC",
    "A-JUN": "YE-JUN",
    "AS": "YS-JAN",
    "YE": "YE-DEC",
    "YS": "YS-JAN",
    "YS-APR": "YS-APR",
    "1": "1",
    "10": "10",
}


@pytest.mark.parametrize(("alias", "canonical"), ALIASES.items())
def test_old_and_new_aliases_have_one_canonical_name(alias: str, canonical: str) -> None:
    frequency = Frequency.parse(alias)
    assert frequency.alias == canonical
    assert Frequency.parse(canonical) == frequency


def test_integer_time_may_be_named_by_an_integer() -> None:
    assert Frequency.parse(1) == Frequency.parse("1")


@pytest.mark.parametrize(
    "alias",
    [
        "",
        "x",
        "0",
        "-1",
        "M-JAN",
        "W-FOO",
        "QS-XXX",
        "h-SUN",
        "9999999D",
    ],
)
def test_other_aliases_are_refused_with_a_sentence(alias: str) -> None:
    with pytest.raises(ValueError, match="is not a frequency"):
        Frequency.parse(alias)


@pytest.mark.parametrize(
    ("alias", "seasons"),
    [
        ("h", (24, 168)),
        ("2h", (12, 84)),
        ("5h", ()),
        ("15min", (96, 672)),
        ("min", (1440, 10080)),
        ("s", (3600, 86400)),
        ("10s", (360, 8640)),
        ("D", (7,)),
        ("2D", ()),
        ("7D", (52,)),
        ("B", (5,)),
        ("W", (52,)),
        ("2W-MON", (26,)),
        ("MS", (12,)),
        ("ME", (12,)),
        ("QS", (4,)),
        ("QE", (4,)),
        ("YS", ()),
        ("YE", ()),
        ("1", ()),
    ],
)
def test_seasons(alias: str, seasons: tuple[int, ...]) -> None:
    assert Frequency.parse(alias).seasons == seasons


@pytest.mark.parametrize(
    ("alias", "start", "expected"),
    [
        ("h", "2024-02-28T23:00:00Z", ["2024-02-28T23:00:00Z", "2024-02-29T00:00:00Z"]),
        ("15min", "2024-02-28T23:45", ["2024-02-28T23:45:00Z", "2024-02-29T00:00:00Z"]),
        ("D", "2024-02-28", ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("D", "2024-02-28T12:00", ["2024-02-28T12:00:00Z", "2024-02-29T12:00:00Z"]),
        ("7D", "2024-02-28", ["2024-02-28", "2024-03-06"]),
        ("B", "2024-03-01", ["2024-03-01", "2024-03-04", "2024-03-05"]),
        ("B", "2024-03-01T16:00", ["2024-03-01T16:00:00Z", "2024-03-04T16:00:00Z"]),
        ("B", "2024-03-02", ["2024-03-04", "2024-03-05"]),
        ("B", "2024-03-03T16:00", ["2024-03-04T16:00:00Z", "2024-03-05T16:00:00Z"]),
        ("W-SUN", "2024-02-25", ["2024-02-25", "2024-03-03"]),
        ("W-SUN", "2024-02-28", ["2024-02-28", "2024-03-06"]),
        ("MS", "2024-12-01", ["2024-12-01", "2025-01-01"]),
        ("MS", "2024-12-15", ["2024-12-15", "2025-01-15"]),
        ("MS", "2023-12-30T12:00", ["2023-12-30T12:00:00Z", "2024-01-30T12:00:00Z", "2024-02-29T12:00:00Z"]),
        ("ME", "2024-01-31", ["2024-01-31", "2024-02-29", "2024-03-31"]),
        ("ME", "2024-01-01", ["2024-01-31", "2024-02-29"]),
        ("QS", "2024-01-01", ["2024-01-01", "2024-04-01"]),
        ("QS", "2024-02-01", ["2024-02-01", "2024-05-01"]),
        ("QE", "2024Q1", ["2024-03-31", "2024-06-30"]),
        ("QE-NOV", "2023-11-30", ["2023-11-30", "2024-02-29"]),
        ("YS", "2024", ["2024-01-01", "2025-01-01"]),
        ("YE", "2024", ["2024-12-31", "2025-12-31"]),
        ("YE-FEB", "2023-02-28", ["2023-02-28", "2024-02-29"]),
        ("2ME", "2024-01-31", ["2024-01-31", "2024-03-31"]),
        ("2QE", "2024-06-30", ["2024-06-30", "2024-12-31"]),
        ("QE", "2024-01-31", ["2024-03-31", "2024-06-30"]),
        ("BMS", "2024-06-01", ["2024-06-03", "2024-07-01"]),
        ("BMS", "2024-09-02T16:00", ["2024-09-02T16:00:00Z", "2024-10-01T16:00:00Z"]),
        ("BME", "2024-03", ["2024-03-29", "2024-04-30"]),
        ("2B", "2024-03-07", ["2024-03-07", "2024-03-11", "2024-03-13"]),
        ("SMS", "2024-02-15", ["2024-02-15", "2024-03-01", "2024-03-15"]),
        ("SME", "2024-02-20", ["2024-02-29", "2024-03-15"]),
        ("WOM-3FRI", "2024-02-01", ["2024-02-16", "2024-03-15"]),
        ("D", "2024-03-30T00:00:00+01:00", ["2024-03-30", "2024-03-31"]),
        ("D", "2024-03-30T09:00:00+05:30", ["2024-03-30T03:30:00Z", "2024-03-31T03:30:00Z"]),
        ("MS", "2024-02-01T00:00:00+01:00", ["2024-02-01", "2024-03-01"]),
        ("h", "2024-03-30T00:00:00+01:00", ["2024-03-29T23:00:00Z", "2024-03-30T00:00:00Z"]),
        ("D", 1_704_067_200_000, ["2024-01-01", "2024-01-02"]),
        ("1", 7, [7, 8, 9]),
        ("10", "7", [7, 17]),
    ],
)
def test_stamps_continue_from_the_start_of_a_series(
    alias: str, start: str | int, expected: list[object]
) -> None:
    frequency = Frequency.parse(alias)
    ordinal, phase = frequency.locate(start)
    assert frequency.stamps(ordinal, len(expected), phase) == expected


@pytest.mark.parametrize(
    ("alias", "value"), [("1", "2024-01-01"), ("1", "1.5"), ("D", "x"), ("D", "1/2/2024")]
)
def test_a_start_that_does_not_fit_is_refused(alias: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"integer|date|ambiguous"):
        Frequency.parse(alias).locate(value)


def test_a_start_is_understood_by_the_days_of_the_training_data() -> None:
    frequency = Frequency.parse("MS")
    thirtieth = frequency.locate("2024-01-30")[1]
    ordinal, phase = frequency.locate("2023-02-28", [thirtieth])
    assert frequency.stamps(ordinal, 2, phase) == ["2023-02-28", "2023-03-30"]
    ordinal, phase = frequency.locate("2023-02-28", [0])
    assert frequency.stamps(ordinal, 2, phase) == ["2023-02-28", "2023-03-28"]
    local = int(add_flag(np.array([16 * 3600]), PhaseFlag.LOCAL)[0])
    ordinal, phase = Frequency.parse("D").locate("2024-03-30T16:00:00+01:00", [local])
    assert Frequency.parse("D").stamps(ordinal, 2, phase) == ["2024-03-30T16:00:00", "2024-03-31T16:00:00"]
    any_day = int(add_flag(np.zeros(1, np.int64), PhaseFlag.ANY_DAY)[0])
    ordinal, phase = frequency.locate("2024-01-17", [any_day])
    assert frequency.stamps(ordinal, 2, phase) == ["2024-01-01", "2024-02-01"]


@given(st.sampled_from(sorted(ALIASES)), st.integers(-1000, 3000))
def test_numbering_and_grid_points_are_inverse(alias: str, start: int) -> None:
    frequency = Frequency.parse(alias)
    ordinals = np.arange(start, start + 50)
    times = frequency.times(ordinals)
    assert np.array_equal(frequency.ordinal(times), ordinals)
    assert not frequency.phase(times).any()
    assert np.all(np.diff(times).astype(np.int64) > 0)


@given(st.sampled_from(sorted(ALIASES)), st.integers(-(10**9), 4 * 10**9))
def test_grid_point_and_phase_give_any_stamp_back(alias: str, seconds: int) -> None:
    frequency = Frequency.parse(alias)
    stamp = np.array([seconds]) if frequency.unit == "1" else np.array([seconds]).astype("datetime64[s]")
    ordinal, phase = frequency.ordinal(stamp), int(frequency.phase(stamp)[0])
    assert np.array_equal(frequency.times(ordinal, phase), stamp)


@pytest.mark.parametrize(
    ("alias", "width"),
    [
        ("s", 8),
        ("15min", 8),
        ("h", 6),
        ("D", 6),
        ("B", 6),
        ("7D", 2),
        ("W", 2),
        ("MS", 2),
        ("QE", 2),
        ("YS", 0),
        ("1", 0),
    ],
)
def test_calendar_features_have_a_fixed_width_and_lie_on_circles(alias: str, width: int) -> None:
    frequency = Frequency.parse(alias)
    features = frequency.calendar_features(np.arange(-5, 500))
    assert features.shape == (505, width) == (505, frequency.calendar_width)
    assert features.dtype == np.float32
    pairs = features.reshape(505, -1, 2)
    assert np.allclose((pairs**2).sum(-1), 1, atol=1e-5)


def test_calendar_features_are_periodic() -> None:
    hours = Frequency.parse("h").calendar_features(np.arange(400))
    assert np.allclose(hours[24:, :2], hours[:-24, :2], atol=1e-5)
    assert np.allclose(hours[168:, 2:4], hours[:-168, 2:4], atol=1e-5)
    months = Frequency.parse("ME").calendar_features(np.arange(40))
    assert np.allclose(months[12:], months[:-12], atol=1e-5)
    assert np.allclose(months[0], [0, 1], atol=1e-6)  # January
