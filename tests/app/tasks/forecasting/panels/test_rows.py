"""Series together, end to end and in padded rows, are as one after the other."""

import numpy as np
import pytest

from app.arrays import Array
from app.tasks.forecasting.panels import rows
from app.tasks.forecasting.panels.rows import end_aligned, joined

NAN = np.nan


def series(count: int = 50) -> list[Array]:
    rng = np.random.default_rng(count)
    return [rng.normal(size=size) for size in rng.integers(0, 30, count)]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_JOINED_POINTS", 100)


def test_joined_series_are_all_there_in_order() -> None:
    one_by_one, groups = [values for values in series() if len(values)], list(joined(series()))
    found = [part for values, starts in groups for part in np.split(values, starts[1:])]
    for values, wanted in zip(found, one_by_one, strict=True):
        np.testing.assert_array_equal(values, wanted)
    assert len(groups) > 3
    assert max(len(values) for values, _ in groups) <= 100
    assert list(joined([])) == list(joined([np.zeros(0)])) == []


def test_a_series_larger_than_a_group_is_one_alone() -> None:
    (values, starts), after = joined([np.ones(300), np.zeros(2)])
    assert (len(values), starts.tolist(), len(after[0])) == (300, [0], 2)


def test_padded_rows_end_with_their_series() -> None:
    values, seen = series(), list[int]()
    for index, padded in end_aligned(values):
        assert padded.size <= 100
        seen += index.tolist()
        for number, row in zip(index.tolist(), padded, strict=True):
            size = len(values[number])
            np.testing.assert_array_equal(row[len(row) - size :], values[number])
            assert np.isnan(row[: len(row) - size]).all()
    assert sorted(seen) == list(range(len(values)))
    assert list(end_aligned([])) == []
