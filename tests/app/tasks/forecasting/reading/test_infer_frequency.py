import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.infer_frequency import SeriesTimes, fit_frequency

Stamps = npt.NDArray[np.datetime64]


def infer_frequency(series: list[Stamps]) -> Frequency:
    """The frequency of series one behind the other."""
    lengths = [len(stamps) for stamps in series]
    firsts = np.cumsum([0, *lengths], dtype=np.int64)[:-1]
    times = np.concatenate(series) if series else np.zeros(0, np.int64)
    return fit_frequency(SeriesTimes(times, firsts)).frequency


def grid(alias: str, start: str, count: int) -> Stamps:
    frequency = Frequency.parse(alias)
    ordinal, phase = frequency.locate(start)
    return np.asarray(frequency.times(np.arange(ordinal, ordinal + count), phase))


@pytest.mark.parametrize(
    ("alias", "start", "expected"),
    [
        ("s", "2024-01-01", "s"),
        ("10s", "2024-01-01", "10s"),
        ("15min", "2024-01-01T00:05", "15min"),
        ("h", "2024-01-01T09:30", "h"),
        ("D", "2024-01-01", "D"),
        ("D", "2024-01-01T12:00", "D"),
        ("2D", "2024-01-01", "2D"),
        ("B", "2024-01-01", "B"),
        ("B", "2024-01-01T16:00", "B"),
        ("W-SUN", "2024-01-07", "W-SUN"),
        ("W-SUN", "2024-01-10", "W-WED"),
        ("2W-MON", "2024-01-01", "2W-MON"),
        ("28D", "2024-01-01", "4W-MON"),
        ("MS", "2024-01-01", "MS"),
        ("MS", "2024-01-15", "MS"),
        ("ME", "2024-01-31", "ME"),
        ("2MS", "2024-01-01", "2MS"),
        ("QS", "2024-01-01", "QS-JAN"),
        ("QS-FEB", "2024-02-01", "QS-FEB"),
        ("QE", "2024-03-31", "QE-DEC"),
        ("YS", "2024-01-01", "YS-JAN"),
        ("YE", "2024-12-31", "YE-DEC"),
        ("YE-FEB", "2024-02-29", "YE-FEB"),
    ],
)
def test_regular_stamps_name_their_frequency(alias: str, start: str, expected: str) -> None:
    stamps = grid(alias, start, 40)
    frequency = infer_frequency([stamps])
    assert frequency.alias == expected
    assert len(set(frequency.phase(stamps).tolist())) == 1
    assert np.array_equal(np.diff(frequency.ordinal(stamps)), np.ones(39))


@given(
    st.sampled_from(["15min", "h", "D", "B", "W-SUN", "MS", "ME", "QE-DEC", "YS-JAN"]),
    st.sets(st.integers(0, 59), max_size=20),
)
def test_gaps_do_not_change_the_frequency(alias: str, missing: set[int]) -> None:
    whole = grid(alias, "2024-01-01", 120)
    gapped = np.delete(whole, sorted(2 * index + 1 for index in missing if index % 3))
    frequency = infer_frequency([gapped, whole[:50]])
    assert np.array_equal(np.diff(frequency.ordinal(whole)), np.ones(119))
    assert len(set(frequency.phase(whole).tolist())) == 1


def test_days_of_one_working_week_are_days() -> None:
    assert infer_frequency([grid("D", "2024-01-01", 5)]).alias == "D"


@pytest.mark.parametrize(
    ("days", "alias"),
    [
        ("2024-01-01 2024-01-02", "D"),
        ("2024-01-31 2024-02-01", "D"),
        ("2024-01-01 2024-01-02 2024-02-01", "D"),
        ("2024-01-01 2024-01-15", "2W-MON"),
        ("2024-01-01 2024-01-15 2024-02-01", "SMS-15"),
        ("2024-01-05 2024-01-08", "B"),
        ("2024-01-05 2024-01-09", "4D"),
        ("2024-01-05 2024-02-02", "4W-FRI"),
        ("2024-01-15 2024-02-15", "MS"),
        ("2024-01-31 2024-02-29", "ME"),
        ("2024-01-01 2024-01-02 2024-08-01 2025-01-01", "D"),
    ],
)
def test_few_stamps_have_the_plainest_frequency(days: str, alias: str) -> None:
    assert infer_frequency([np.array(days.split(), "datetime64[s]")]).alias == alias


def test_many_series_of_the_same_two_days_are_days() -> None:
    assert infer_frequency([grid("D", "2024-01-01", 2)] * 50).alias == "D"


def test_one_weekend_makes_business_days_days() -> None:
    assert infer_frequency([grid("B", "2024-01-01", 60), grid("D", "2024-01-06", 2)]).alias == "D"


@pytest.mark.parametrize(
    ("times", "alias"), [([0, 1, 2, 5], "1"), ([0, 10, 20, 50], "10"), ([0, 2, 4, 5], "1"), ([-3, -1], "2")]
)
def test_integers_give_integer_time(times: list[int], alias: str) -> None:
    assert infer_frequency([np.array(times)]).alias == alias


@pytest.mark.parametrize(
    "series", [[], [np.array([5])], [grid("D", "2024-01-01", 1), grid("D", "2024-01-02", 1)]]
)
def test_without_two_stamps_there_is_no_frequency(series: list[Stamps]) -> None:
    with pytest.raises(ValueError, match="cannot be inferred"):
        infer_frequency(series)
