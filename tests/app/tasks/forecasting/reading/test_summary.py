import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.summary import MIN_OBSERVED, ParsedSeries, summarize_series, untrainable
from app.typedefs import Json
from tests.support.factories.series import series_set

NAN = np.nan


def parsed(
    *series: list[float], freq: str = "D", phases: list[int] | None = None, **fields: Any
) -> ParsedSeries:
    values = [np.array(one, np.float64) for one in series]
    series_ = series_set(values, freq, **fields)
    rows = int(sum(np.isfinite(one).sum() for one in values))
    return ParsedSeries(series_, np.array(phases or [0] * len(series)), rows, ["earlier"])


def summarized(*series: list[float], **fields: Any) -> tuple[Json, list[str]]:
    summary, warnings = summarize_series(parsed(*series, **fields))
    json.dumps(summary, allow_nan=False)
    return summary, warnings


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=20), min_size=1, max_size=6))
def test_lengths_end_at_the_last_observed_value(observed: list[list[bool]]) -> None:
    series = [[1.0 if one else NAN for one in part] for part in [*observed, [True] * MIN_OBSERVED]]
    summary, warnings = summarized(*series)
    ends = [
        max((index + 1 for index, value in enumerate(part) if value == 1.0), default=0) for part in series
    ]
    counts = [sum(value == 1.0 for value in part) for part in series]
    assert (summary["shortest"], summary["longest"]) == (min(ends), max(ends))
    assert summary["longest_train"] == max(ends)
    assert summary["missing_share"] == pytest.approx(1 - sum(counts) / sum(ends), abs=1e-6)
    short = sum(count < MIN_OBSERVED for count in counts)
    expected = [f"{short} series have fewer than {MIN_OBSERVED} observed values."] if short else []
    assert warnings == ["earlier", *expected]


def test_series_too_short_to_train_on_are_summarised_and_named() -> None:
    short = parsed([1, NAN, 2], [NAN, NAN, NAN])
    summary, warnings = summarize_series(short)
    assert (summary["series"], summary["longest"]) == (2, 3)
    assert warnings[1:] == [f"2 series have fewer than {MIN_OBSERVED} observed values."]
    assert untrainable(short.series) == f"Each series has fewer than {MIN_OBSERVED} observed values."
    assert untrainable(parsed([1, 2, 3], [NAN, NAN, NAN]).series) is None


def test_the_span_takes_the_phase_of_the_series_it_names() -> None:
    summary, _ = summarized([1, 2, 3], [1, 2, 3, 4], phases=[0, 9 * 3600])
    assert summary["span"] == {"start": "1970-01-01", "end": "1970-01-04T09:00:00Z"}


def test_the_span_of_integer_time_is_of_integers() -> None:
    assert summarized([1, 2, 3], freq="10")[0]["span"] == {"start": 0, "end": 20}


def test_marked_rows_do_not_count_as_training() -> None:
    splits = [[1, 1, 1, 2, 3, 3], [3, 3, 3, 3]]
    summary, _ = summarized([1, 2, 3, 4, NAN, 6], [1, 2, 3, 4], splits=splits)
    assert summary["longest_train"] == 3
    assert summary["split"] == {"train": 3, "valid": 1, "test": 6}


def test_without_marks_there_is_no_split() -> None:
    assert summarized([1, 2, 3])[0]["split"] is None


def test_covariates_are_listed_by_kind() -> None:
    typed = parsed([1, 2, 3], [1, 2, 3], static=["x", "y"], covariates={"a": np.arange(6.0), "b": np.ones(6)})
    typed.series.covariate_levels[1].extend(["red"])
    summary, _ = summarize_series(typed)
    assert summary["covariates"] == {"static": ["kind"], "numeric": ["a"], "category": ["b"]}
    assert summary["series"] == 2


@pytest.mark.parametrize("alias", ["h", "15min", "D", "B", "W-SUN", "MS", "QE-DEC", "YS-JAN", "1"])
def test_the_frequency_can_be_read_again(alias: str) -> None:
    summary, _ = summarized([1, 2, 3], freq=alias)
    frequency = Frequency.parse(summary["frequency"])
    assert frequency.alias == alias
    assert summary["seasons"] == list(frequency.seasons)
