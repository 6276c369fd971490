"""A forecast and its past stand on one axis."""

import pytest

from app.page.predictions.dates import past_stamps
from app.page.predictions.forecasts import axis_steps


@pytest.mark.parametrize(
    ("start", "steps", "first", "stamps"),
    [
        ("2020-01-30", 3, "2020-02-02", ["2020-01-30", "2020-01-31", "2020-02-01"]),
        ("2019-11-01", 3, "2020-02-01", ["2019-11-01", "2019-12-01", "2020-01-01"]),
        ("2019-11-30", 3, "2020-02-29", ["2019-11-30", "2019-12-31", "2020-01-31"]),
        ("2019-10-01", 2, "2020-04-01", ["2019-10-01", "2020-01-01"]),
        ("2020-01-02", 3, "2020-01-07", ["2020-01-02", "2020-01-03", "2020-01-06"]),
        ("2020-01-01", 2, "2020-01-15", ["2020-01-01", "2020-01-08"]),
        ("2020-01-01", 2, "2020-01-01T02:00:00", ["2020-01-01T00:00:00", "2020-01-01T01:00:00"]),
        (5, 2, 9, ["5", "7"]),
        (5, 2, 10, None),
        ("2020-01-01", 3, "2020-01-01T00:00:02", None),
        ("2020-01-01", 2, "2020-01-03T00:00:00+00:00", None),
        ("soon", 2, "2020-01-03", None),
        ("2020-01-01", 0, "2020-01-01", None),
    ],
)  # fmt: skip
def test_dates_of_a_past(start: str | int, steps: int, first: str | int, stamps: list[str] | None) -> None:
    assert past_stamps(start, steps, [first]) == stamps


def test_an_axis_has_dates_or_steps_and_never_both() -> None:
    dates = ["2020-01-04", "2020-01-05"]
    assert axis_steps({"values": [1, 2, 3], "start": "2020-01-01"}, dates, 2, drawn=2) == [
        "2020-01-02", "2020-01-03", *dates,
    ]  # fmt: skip
    relative = ["-1", "0", "+1", "+2"]
    assert axis_steps({"values": [1, 2, 3], "start": "2019-01-01"}, dates, 2, drawn=2) == relative
    assert axis_steps({"values": [1, 2]}, [], 1, drawn=2) == ["-1", "0", "+1"]
    assert axis_steps({}, dates, 2, drawn=0) == dates
