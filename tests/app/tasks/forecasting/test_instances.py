"""A series of a data set as a request has the same history as training takes out of the arrays."""

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from app.errors import Invalid
from app.ingest.readers import Mapping, open_source
from app.tasks.forecasting.backtest import HistorySlicer
from app.tasks.forecasting.calendars.phases import PhaseFlag, add_flag
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.inference import (
    MAX_REQUEST_STEPS,
    ForecastingInstance,
    ForecastingParameters,
    read_histories,
)
from app.tasks.forecasting.instances import BLOCK_SERIES, ForecastingInstanceView, check_dataset
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.series import SeriesSet
from app.tasks.forecasting.task import TASK
from app.tasks.source import Faults
from app.typedefs import Json
from tests.support.factories.series import series_set, waves
from tests.support.single import decode_one, encode_one

NAN = np.nan


def state(series: SeriesSet, **options: Any) -> Json:
    return TASK.plan(series.arrays(), ForecastingOptions(horizon=4, **options), 0).state


def rich(known_ahead: bool = True) -> SeriesSet:
    """Five series with a static column and two covariates; the last four values are yet to come."""
    values = waves(5, 60)
    for one in values:
        one[-4:] = NAN
    values[1][7:10] = NAN
    points = sum(map(len, values))
    steps = np.arange(points, dtype=np.float64)
    covariates = {"price": steps / 10.0, "promo": np.mod(steps, 3.0)}
    return series_set(
        values,
        static=["a", "b", "a", "b", "a"],
        covariates=covariates,
        known_ahead=["promo"] if known_ahead else [],
    )


def test_an_instance_ends_at_the_last_observed_value_and_has_covariates_beyond_it() -> None:
    series = rich()
    instance = ForecastingInstanceView(series, state(series))[1]
    start = int(series.offsets[1])
    assert len(instance.values) == 56
    np.testing.assert_array_equal(instance.values, series.values[start : start + 56])
    assert (instance.item_id, instance.freq, instance.start) == ("s1", "D", "1970-01-01")
    assert instance.static == {"kind": "b"}
    assert instance.past.keys() == {"price", "promo"}
    assert {len(column) for column in instance.past.values()} == {56}
    assert instance.future == {"promo": series.covariates[start + 56 : start + 60, 1].tolist()}


def test_a_request_has_the_history_that_training_takes() -> None:
    series = rich()
    known = state(series)
    instances = ForecastingInstanceView(series, known)
    assert len(instances) == 5
    histories, phases = read_histories(known, [instances[index] for index in range(5)])
    trained = HistorySlicer(series, known).histories(np.array([[index, 56, 56] for index in range(5)]))
    assert not phases.any()
    assert np.array_equal(histories.start, trained.start)
    assert np.array_equal(histories.static, trained.static)
    assert np.array_equal(histories.values(56), trained.values(56), equal_nan=True)
    for index in range(5):
        own, other = histories.take(np.array([index])), trained.take(np.array([index]))
        for kind, end in (("past", "origin"), ("future", "known_end")):
            spans = [
                getattr(one.points, kind)[int(one.first[0]) : int(getattr(one, end)[0])]
                for one in (own, other)
            ]
            np.testing.assert_allclose(*spans)


def test_an_instance_has_only_the_steps_of_the_model_history() -> None:
    series = series_set(waves(2, 2000))
    known = state(series)
    assert known["history"] < 2000
    instance = ForecastingInstanceView(series, known)[1]
    assert len(instance.values) == known["history"]
    whole = ForecastingInstance(series.values[2000:].tolist(), "1970-01-01", "D", "s1")
    histories, _ = read_histories(known, [instance, whole])
    values = histories.values(known["history"])
    np.testing.assert_array_equal(*values)
    assert histories.start[0] == histories.start[1]


def flagged(phase: int, flag: PhaseFlag) -> int:
    return int(add_flag(np.array([phase]), flag)[0])


@pytest.mark.parametrize(
    ("freq", "phase", "stamps"),
    [
        (
            "MS",
            29 * 86_400,
            ["1972-01-30", "1972-02-29", "1972-03-30"],
        ),  # a request may not start in February
        (
            "MS",
            int(add_flag(np.array([14 * 86_400]), PhaseFlag.ROLL_FORWARD)[0]),
            ["1972-01-17", "1972-02-15"],
        ),
        ("D", int(add_flag(np.array([16 * 3600]), PhaseFlag.LOCAL)[0]), ["1970-01-25T16:00:00"]),
    ],
)
def test_a_stored_series_goes_on_by_its_own_days(freq: str, phase: int, stamps: list[str]) -> None:
    series = replace(series_set([np.arange(24.0)], freq), phases=np.array([phase]))
    instance = ForecastingInstanceView(series, state(series_set(waves(2), freq)))[0]
    example = encode_one(TASK, state(series_set(waves(2), freq)), instance, ForecastingParameters())
    context = example.context
    assert Frequency.parse(freq).stamps(context.origin, len(stamps), context.phase) == stamps


def test_requests_know_the_days_of_the_training_data() -> None:
    thirtieth = replace(series_set(waves(2, 60), "MS"), phases=np.array([29 * 86_400, 29 * 86_400]))
    known = state(thirtieth)
    assert known["phases"] == [29 * 86_400]
    request = ForecastingInstance(values=[1.0, 2, 3], start="2023-02-28")
    context = encode_one(TASK, known, request, ForecastingParameters()).context
    assert Frequency.parse("MS").stamps(context.origin, 2, context.phase) == ["2023-05-30", "2023-06-30"]


def test_three_months_on_their_first_days_suit_a_model_of_first_business_days() -> None:
    known = state(series_set(waves(2, 60), "BMS"))
    instance = ForecastingInstanceView(series_set([np.arange(3.0)], "MS"), known)[0]
    for request in (instance, ForecastingInstance(values=[1.0, 2, 3], freq="MS", start="1970-01-01")):
        context = encode_one(TASK, known, request, ForecastingParameters()).context
        assert Frequency.parse("BMS").stamps(context.origin, 2, context.phase) == ["1970-04-01", "1970-05-01"]
    assert check_dataset({"frequency": "MS"}, known, ForecastingParameters()) == []
    for other in ("ME", "2MS", "QS", "D"):
        assert [p.pointer for p in check_dataset({"frequency": other}, known, ForecastingParameters())] == [
            "/dataset"
        ]


@pytest.mark.parametrize("freq", ["ms", "1ms", "10ms", "100ms"])
def test_milliseconds_in_a_request_are_no_months(freq: str) -> None:
    request = ForecastingInstance(values=[1.0, 2, 3], freq=freq)
    with pytest.raises(Invalid) as caught:
        encode_one(TASK, state(series_set(waves(2), "MS")), request, ForecastingParameters())
    [problem] = caught.value.problems
    assert problem.pointer == "/freq"
    assert "milliseconds" in problem.detail


def test_an_instance_has_no_more_steps_than_a_request_may_have() -> None:
    series = series_set([np.arange(MAX_REQUEST_STEPS + 5.0)])
    known = state(series_set(waves(2))) | {"history": 10 * MAX_REQUEST_STEPS}
    instance = ForecastingInstanceView(series, known)[0]
    assert len(instance.values) == MAX_REQUEST_STEPS
    msgspec.convert(msgspec.to_builtins(instance), ForecastingInstance)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"values": [0.0] * (MAX_REQUEST_STEPS + 1)}, ForecastingInstance)


def test_a_series_that_was_never_observed_is_refused_when_it_is_read() -> None:
    series = series_set([np.full(9, NAN), *waves(2)])
    known = state(series)
    instance = ForecastingInstanceView(series, known)[0]
    with pytest.raises(Invalid) as caught:
        encode_one(TASK, known, instance, ForecastingParameters())
    assert [problem.pointer for problem in caught.value.problems] == ["/values"]


def test_columns_the_model_does_not_know_are_left_out() -> None:
    plain = state(series_set(waves(5, 60)))
    instance = ForecastingInstanceView(rich(), plain)[0]
    assert (instance.past, instance.future, instance.static) == ({}, {}, {})
    encode_one(TASK, plain, instance, ForecastingParameters())


def test_columns_the_data_set_lacks_are_left_out_too() -> None:
    known = state(rich())
    instance = ForecastingInstanceView(series_set(waves(5, 60)), known)[0]
    assert (instance.past, instance.future, instance.static) == ({}, {}, {})
    encode_one(TASK, known, instance, ForecastingParameters())


def test_levels_are_named_and_missing_ones_are_null() -> None:
    series = rich(known_ahead=False)
    series.covariate_levels[1][:] = ["none", "half", "full"]
    series.covariates[0, 1] = NAN
    series.static_codes[0, 0] = -1
    instance = ForecastingInstanceView(series, state(series))[0]
    assert instance.past["promo"][:4] == [None, "half", "full", "none"]
    assert instance.static == {"kind": None}


@pytest.mark.parametrize("freq", ["h", "15min", "D", "B", "W-SUN", "MS", "ME", "QS-JAN", "YE-DEC", "1", "7"])
def test_the_start_is_read_back_as_it_stands_in_the_arrays(freq: str) -> None:
    series = series_set(waves(2, 40), freq)
    series.starts[:] = [0, 123]
    known = state(series)
    for index, ordinal in enumerate([0, 123]):
        histories, phases = read_histories(known, [ForecastingInstanceView(series, known)[index]])
        assert (histories.start.tolist(), phases.tolist()) == ([ordinal], [0])


@pytest.mark.parametrize(
    ("stamps", "next_stamp"),
    [
        (["2024-01-15", "2024-02-15", "2024-03-15", "2024-04-15"], "2024-05-15"),
        (["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"], "2024-05-31"),
        (["2024-01-01T16:00:00", "2024-01-02T16:00:00", "2024-01-03T16:00:00"], "2024-01-04T16:00:00Z"),
        (["2024-01-01T00:30:00", "2024-01-01T01:30:00", "2024-01-01T02:30:00"], "2024-01-01T03:30:00Z"),
        (["2024-01-03", "2024-01-10", "2024-01-17"], "2024-01-24"),
        (["10", "20", "30"], 40),
        (["13", "23", "33"], 43),
    ],
)
def test_stamps_beside_the_grid_points_stay_there(
    tmp_path: Path, stamps: list[str], next_stamp: str | int
) -> None:
    rows = "".join(f"{stamp},{value}\n" for value, stamp in enumerate(stamps, 1))
    (tmp_path / "file.csv").write_text("ds,y\n" + rows)
    faults = Faults()
    source = open_source(tmp_path / "file.csv", "csv", Mapping.checked({}, ()), faults)
    arrays = TASK.read(source, faults).arrays
    known = TASK.plan(arrays, ForecastingOptions(horizon=1), 0).state
    instance = TASK.instances(arrays, known)[0]
    example = encode_one(TASK, known, instance, ForecastingParameters())
    outputs = np.zeros(len(known["quantiles"]), np.float32)
    assert decode_one(TASK, known, example, outputs, ForecastingParameters())["timestamps"] == [next_stamp]


def test_arrays_without_phases_are_on_the_grid() -> None:
    series = series_set(waves(2, 40))
    arrays = {name: array for name, array in series.arrays().items() if name != "phases"}
    known = state(series)
    assert (
        TASK.instances(arrays, known)[1].start
        == ForecastingInstanceView(series, known)[1].start
        == "1970-01-01"
    )


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_outside_the_data_set_is_refused(index: int) -> None:
    series = series_set(waves(2))
    with pytest.raises(IndexError):
        ForecastingInstanceView(series, state(series))[index]


@pytest.mark.parametrize(
    ("frequency", "parameters", "pointers"),
    [
        ("D", ForecastingParameters(), []),
        ("D", ForecastingParameters(horizon=4, quantiles=[0.1, 0.9]), []),
        ("MS", ForecastingParameters(), ["/dataset"]),
        ("D", ForecastingParameters(horizon=5), ["/parameters/horizon"]),
        ("h", ForecastingParameters(quantiles=[0.5, 0.99]), ["/dataset", "/parameters/quantiles/1"]),
    ],
)
def test_a_data_set_that_does_not_fit_the_model_is_a_problem(
    frequency: str, parameters: ForecastingParameters, pointers: list[str]
) -> None:
    known = state(series_set(waves(4)))
    problems = check_dataset({"frequency": frequency}, known, parameters)
    assert [problem.pointer for problem in problems] == pointers


def test_long_starts_and_frequencies_of_requests_are_not_kept() -> None:
    fitted = state(series_set(waves(3, 60)))
    tracemalloc.start()
    try:
        for day in range(1, 11):
            start, freq = f"2024-01-{day:02}" + " " * 1_000_000, "D" + " " * (1_000_000 + day)
            long = ForecastingInstance([1.0, 2.0, 3.0], start, freq)
            assert encode_one(TASK, fitted, long, ForecastingParameters()).context.origin is not None
            del long, start, freq
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_an_instance_is_the_same_in_whatever_order_they_are_read() -> None:
    """Series of all lengths, some with missing ends, one empty, over several blocks."""
    rng = np.random.default_rng(5)
    values = [rng.normal(size=length) for length in rng.integers(1, 40, 2 * BLOCK_SERIES + 30)]
    for one in values[::3]:
        one[-len(one) // 2 :] = NAN
    values[7] = np.zeros(0)
    starts = rng.integers(-400, 400, len(values))
    series = replace(series_set(values), starts=starts, phases=rng.integers(0, 2, len(values)) * 3600)
    model = {**state(series_set(waves(5, 60))), "history": 12}
    view, shuffled = ForecastingInstanceView(series, model), ForecastingInstanceView(series, model)
    in_order = [view[row] for row in range(len(view))]
    for row in rng.permutation(len(values)).tolist():
        found, wanted = shuffled[row], in_order[row]
        np.testing.assert_array_equal(found.values, wanted.values)
        assert (found.start, found.item_id) == (wanted.start, wanted.item_id)
        observed = np.flatnonzero(np.isfinite(values[row]))
        end = int(observed[-1]) + 1 if len(observed) else len(values[row])
        first = max(0, end - 12)
        np.testing.assert_array_equal(found.values, values[row][first:end])
        stamps = Frequency.parse("D").stamps(int(starts[row]) + first, 1, int(series.phases[row]))
        assert [found.start] == stamps
