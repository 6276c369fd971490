import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.errors import Invalid
from app.tasks.contract import Plan
from app.tasks.forecasting.inference import ForecastingInstance, ForecastingParameters
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.prediction.terms import SCALARS
from app.tasks.forecasting.series import SeriesSet
from app.tasks.forecasting.task import TASK
from tests.support.factories.series import series_set, waves
from tests.support.single import decode_one, encode_one

HORIZON = 5
SUMMARY: dict[str, Any] = {
    "longest_train": 40,
    "split": None,
    "covariates": {"static": ["kind"], "numeric": ["price"], "category": ["weather"]},
}


def plan_of(series: SeriesSet, **options: Any) -> Plan:
    return TASK.plan(series.arrays(), ForecastingOptions(horizon=HORIZON, **options), 0)


@pytest.fixture(scope="module")
def logs() -> Plan:
    """Positive series: a model in logarithms."""
    return plan_of(series_set(waves()))


@pytest.fixture(scope="module")
def rich() -> Plan:
    """Series with a static column, a past and a future covariate."""
    values = waves(4)
    columns = {"promo": np.sin(np.arange(360.0)), "footfall": np.cos(np.arange(360.0))}
    kinds = ["a", "b", "a", "b"]
    return plan_of(series_set(values, static=kinds, covariates=columns, known_ahead=["promo"]))


def predict(
    plan: Plan, instance: ForecastingInstance, outputs: float = 0.0, **parameters: Any
) -> dict[str, Any]:
    requested = ForecastingParameters(**parameters)
    example = encode_one(TASK, plan.state, instance, requested)
    assert example.inputs.shape == (example.inputs.shape[0], plan.features)
    assert np.isfinite(example.inputs).all()
    prediction: dict[str, Any] = json.loads(
        json.dumps(
            decode_one(TASK, plan.state, example, np.full(plan.outputs, outputs, np.float32), requested),
            allow_nan=False,
        )
    )
    return prediction


def refusal(plan: Plan, instance: ForecastingInstance, **parameters: Any) -> str:
    with pytest.raises(Invalid) as caught:
        encode_one(TASK, plan.state, instance, ForecastingParameters(**parameters))
    return caught.value.problems[0].pointer


def test_an_untrained_network_continues_level_and_season(logs: Plan) -> None:
    season: list[float | None] = [10.0, 20, 30, 40, 50, 60, 70]
    prediction = predict(logs, ForecastingInstance(values=season * 6))
    assert prediction["mean"] == pytest.approx(season[:5], rel=0.05)
    assert prediction["median"] == pytest.approx(season[:5], rel=0.05)
    assert set(prediction) == {"item_id", "mean", "median", "quantiles", "warnings"}
    assert set(prediction["quantiles"]) == {"0.1", "0.5", "0.9"}
    assert prediction["quantiles"]["0.5"] == prediction["median"]


def test_time_stamps_follow_the_last_value(logs: Plan) -> None:
    prediction = predict(
        logs, ForecastingInstance(values=[1.0, 2, 3], start="2024-02-27", freq="D", item_id="x"), horizon=2
    )
    assert prediction["timestamps"] == ["2024-03-01", "2024-03-02"]
    assert prediction["item_id"] == "x"
    assert len(prediction["mean"]) == 2


def test_quantiles_never_cross_and_are_interpolated(logs: Plan) -> None:
    example = encode_one(
        TASK, logs.state, ForecastingInstance(values=[5.0, 6, 7, 6]), ForecastingParameters()
    )
    outputs = np.random.default_rng(0).normal(size=logs.outputs).astype(np.float32)
    parameters = ForecastingParameters(quantiles=[0.1, 0.3, 0.5, 0.9])
    quantiles = decode_one(TASK, logs.state, example, outputs, parameters)["quantiles"]
    assert list(quantiles) == ["0.1", "0.3", "0.5", "0.9"]
    assert np.all(np.diff(list(quantiles.values()), axis=0) >= 0)
    np.testing.assert_allclose(quantiles["0.3"], (np.array(quantiles["0.1"]) + quantiles["0.5"]) / 2)


def test_intervals_of_any_level_contain_the_narrower_ones(logs: Plan) -> None:
    state = {**logs.state, "tails": [1.0, 1.1, 1.2, 1.3, 1.4]}
    outputs = np.random.default_rng(0).normal(size=logs.outputs).astype(np.float32)
    example = encode_one(TASK, state, ForecastingInstance(values=[5.0, 6, 7, 6]), ForecastingParameters())
    parameters = ForecastingParameters(quantiles=[0.005], level=[80, 95, 99, 50.5])
    prediction = decode_one(TASK, state, example, outputs, parameters)
    plain = decode_one(TASK, state, example, outputs, ForecastingParameters(horizon=None))
    intervals = {
        name: (np.array(one["lower"]), np.array(one["upper"]))
        for name, one in prediction["intervals"].items()
    }
    assert list(intervals) == ["80", "95", "99", "50.5"]
    np.testing.assert_array_equal(intervals["80"], [plain["quantiles"]["0.1"], plain["quantiles"]["0.9"]])
    np.testing.assert_array_equal(intervals["99"][0], prediction["quantiles"]["0.005"])
    for inner, outer in pairwise(("50.5", "80", "95", "99")):
        assert (intervals[outer][0] < intervals[inner][0]).all()
        assert (intervals[outer][1] > intervals[inner][1]).all()
    assert prediction["median"] == plain["median"]
    assert prediction["mean"] == plain["mean"]
    assert "intervals" not in plain


@pytest.mark.parametrize(
    ("pointer", "parameters"),
    [
        ("/parameters/level/1", {"level": [80, 99.5]}),
        ("/parameters/quantiles/0", {"quantiles": [0.004]}),
    ],
)
def test_what_lies_too_far_out_is_refused(rich: Plan, pointer: str, parameters: dict[str, Any]) -> None:
    plan = replace(rich, state={**rich.state, "tails": [1.0] * 5})
    assert refusal(plan, ForecastingInstance(values=[1.0]), **parameters) == pointer
    assert refusal(rich, ForecastingInstance(values=[1.0]), level=[80.5]) == "/parameters/level/0"


@pytest.mark.parametrize(
    ("pointer", "instance", "parameters"),
    [
        ("/values", {"values": [None, None]}, {}),
        ("/values/1", {"values": [1.0, math.inf]}, {}),
        ("/freq", {"values": [1.0], "freq": "h"}, {}),
        ("/freq", {"values": [1.0], "freq": "fortnight"}, {}),
        ("/start", {"values": [1.0], "start": "yesterday"}, {}),
        ("/static/colour", {"values": [1.0], "static": {"colour": "red"}}, {}),
        ("/past/a~1b", {"values": [1.0], "past": {"a/b": [1.0]}}, {}),
        ("/future/footfall", {"values": [1.0], "future": {"footfall": [1.0]}}, {}),
        ("/past/footfall", {"values": [1.0, 2.0], "past": {"footfall": [1.0]}}, {}),
        ("/past/footfall/0", {"values": [1.0], "past": {"footfall": ["many"]}}, {}),
        ("/future/promo/4", {"values": [1.0], "future": {"promo": [1.0] * 4 + ["high"]}}, {}),
        ("/future/promo", {"values": [1.0], "future": {"promo": [1.0] * (HORIZON - 1)}}, {}),
        ("/future/promo", {"values": [1.0], "future": {"promo": []}}, {"horizon": 1}),
        ("/static/promo", {"values": [1.0], "static": {"promo": "high"}}, {}),
        ("/values/1", {"values": [1.0, "2"]}, {}),
        ("/parameters/horizon", {"values": [1.0]}, {"horizon": HORIZON + 1}),
        ("/parameters/quantiles/1", {"values": [1.0]}, {"quantiles": [0.5, 0.95]}),
    ],
)
def test_a_bad_request_is_refused_where_it_is_bad(
    rich: Plan, pointer: str, instance: dict[str, Any], parameters: dict[str, Any]
) -> None:
    assert refusal(rich, ForecastingInstance(**instance), **parameters) == pointer


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"start": "2024-01-01"},
        {"static": {"kind": "a"}},
        {"static": {"kind": "unknown"}},
        {"past": {"footfall": [1.0, None, 2.0]}},
        {"past": {"promo": [1.0, 1.0, 2.0]}, "future": {"promo": [1.0, 2.0, None, None, None]}},
        {"future": {"promo": [1.0] * HORIZON}},
    ],
)
def test_whatever_was_trained_with_may_be_left_out_of_a_request(rich: Plan, extra: dict[str, Any]) -> None:
    assert len(predict(rich, ForecastingInstance(values=[3.0, None, 4.0], **extra))["mean"]) == HORIZON


VALUES = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 1e12, -1e12, 1e-9, 5e-324, 1.7e308, -1.7e308]),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(values=st.lists(VALUES, min_size=1, max_size=60), output=st.floats(-1e6, 1e6, width=32))
def test_any_legal_series_has_a_finite_answer(logs: Plan, values: list[float | None], output: float) -> None:
    if any(value is not None for value in values):
        prediction = predict(logs, ForecastingInstance(values=values), output)
        assert np.isfinite(prediction["mean"]).all()


def test_a_constant_stays_what_it_is(logs: Plan) -> None:
    assert predict(logs, ForecastingInstance(values=[7.0] * 30))["mean"] == pytest.approx([7.0] * HORIZON)


def test_counts_are_not_forecast_below_zero(logs: Plan) -> None:
    prediction = predict(logs, ForecastingInstance(values=[3.0, 0, 2, 0, 1]), -50.0)
    assert min(prediction["median"]) == 0.0
    assert min(prediction["mean"]) >= 0.0


def test_the_theta_method_has_its_share(logs: Plan) -> None:
    """An untrained network repeats the level; the method's path rises with the series."""
    values = np.exp(0.05 * np.arange(40.0))
    instance = ForecastingInstance(values=values.tolist())
    medians = {}
    for share in (0.0, 0.25, 0.5):
        plan = replace(logs, state=logs.state | {"theta": share})
        medians[share] = np.log(predict(plan, instance)["median"])
    assert medians[0.0] == pytest.approx([np.log(values[-1])] * HORIZON)
    assert np.diff(medians[0.5]) == pytest.approx([0.5 * 0.5 * 0.05] * (HORIZON - 1), rel=1e-3)
    assert medians[0.25] == pytest.approx((medians[0.0] + medians[0.5]) / 2)


def test_a_version_without_the_theta_method_answers_as_before(logs: Plan) -> None:
    values = [5.0, 6, 7, 6, 8, 9, 9, 11]
    old = replace(logs, state={key: value for key, value in logs.state.items() if key != "theta"})
    zero = predict(logs, ForecastingInstance(values=values), 0.5)
    assert predict(old, ForecastingInstance(values=values), 0.5) == zero
    (example,) = TASK.encode(old.state, [ForecastingInstance(values=values)], ForecastingParameters())
    assert len(example.context.terms) == SCALARS + 2 * HORIZON


def test_intervals_cover_what_they_say_after_calibration() -> None:
    """Random walks, whose moves an untrained network has as equal quantiles, made far too narrow here."""
    rng = np.random.default_rng(0)
    values = [np.cumsum(rng.normal(size=400)) for _ in range(8)]
    plan = plan_of(series_set(values))
    quantiles = np.sqrt(np.arange(1, HORIZON + 1))[:, None] * np.array([-0.5, 0.0, 0.5])
    outputs = [quantiles.ravel().astype(np.float32)] * len(plan.valid.lengths)
    state = TASK.calibrate(plan.state, plan.valid, outputs)
    narrow, _ = TASK.score(plan.state, plan.test, outputs[: len(plan.test.lengths)])
    wide, _ = TASK.score(state, plan.test, outputs[: len(plan.test.lengths)])
    assert narrow["coverage"] < 0.4
    assert wide["coverage"] == pytest.approx(0.8, abs=0.1)
    assert wide["pinball"] < narrow["pinball"]
    assert state["theta"] > 0.2


def test_values_after_the_origin_change_nothing() -> None:
    series = series_set(waves())
    plan = plan_of(series)
    origin = len(series.values) // 8 - HORIZON
    held = (np.arange(len(series.values)) % 90) >= origin
    changed = plan_of(series_set(list(np.where(held, 1e4, series.values).reshape(8, 90))))
    assert plan.state == changed.state
    rows = np.arange(len(plan.valid.lengths))
    for name in ("train", "valid"):
        ours, theirs = getattr(plan, name).batch(rows, None), getattr(changed, name).batch(rows, None)
        np.testing.assert_array_equal(ours.inputs, theirs.inputs)
        np.testing.assert_array_equal(ours.targets, theirs.targets)


def test_training_examples_do_not_overlap_validation() -> None:
    values = [np.where(np.arange(90) >= 80, 1e9, 100.0 + np.arange(90) % 3) for _ in range(70)]
    batch = plan_of(series_set(values)).train.batch(np.arange(70), None)
    assert np.abs(batch.targets * (batch.weights > 0)).max() < 30


def test_a_request_is_encoded_as_in_training(logs: Plan) -> None:
    values = waves()[0]
    batch = logs.test.batch(np.arange(1), None)
    origin = 90 - HORIZON
    instance = ForecastingInstance(values=values[:origin].tolist(), start="1970-01-01")
    example = encode_one(TASK, logs.state, instance, ForecastingParameters())
    np.testing.assert_allclose(batch.inputs[0][: batch.lengths[0]], example.inputs, rtol=1e-6)


def test_random_views_depend_on_the_generator_alone(rich: Plan) -> None:
    rows = np.arange(6)
    one, two, three = (rich.train.batch(rows, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.inputs, two.inputs)
    assert one.inputs.shape != three.inputs.shape or not np.array_equal(one.inputs, three.inputs)


def test_score_against_the_seasonal_naive_forecast(logs: Plan) -> None:
    outputs = [np.zeros(logs.outputs, np.float32)] * len(logs.test.lengths)
    metrics, baseline = TASK.score(logs.state, logs.test, outputs)
    numbers = {"smape", "mase", "pinball", "coverage", "bias", "coverage_by_lead"}
    assert set(metrics) == {*numbers, "worst_series"}
    assert set(baseline) == numbers
    assert 0 < metrics["smape"] < 30
    assert baseline["mase"] == pytest.approx(1.0, abs=0.6)
    assert 0.5 < baseline["coverage"] <= 1


def test_missing_values_do_not_enter_the_metrics() -> None:
    values = waves(70, 60)
    for k, series in enumerate(values):
        series[(np.arange(60) + k) % 4 == 0] = np.nan
        series[-HORIZON:][k % 5 == 0 :] = np.nan
    values[3][:] = np.nan
    plan = plan_of(series_set(values))
    outputs = [np.zeros(plan.outputs, np.float32)] * len(plan.test.lengths)
    json.dumps(TASK.score(plan.state, plan.test, outputs), allow_nan=False)
    assert plan.refit is not None
    for split in (plan.train, plan.valid, plan.test, plan.refit):
        batch = split.batch(np.arange(len(split.lengths)), None)
        assert all(np.isfinite(array).all() for array in (batch.inputs, batch.targets, batch.weights))


def test_a_state_is_json(rich: Plan) -> None:
    assert json.loads(json.dumps(rich.state, allow_nan=False)) == rich.state


@pytest.mark.parametrize("freq", ["h", "D", "W-SUN", "MS", "QS-JAN", "YS-JAN", "1", "B", "15min"])
@pytest.mark.parametrize("length", [13, 60])
def test_every_frequency_can_be_planned_for(freq: str, length: int) -> None:
    plan = plan_of(series_set(waves(3, length), freq))
    batch = plan.train.batch(np.arange(8), np.random.default_rng(0))
    assert batch.inputs.shape[2] == plan.features
    assert batch.weights.any()


def test_series_without_values_are_refused() -> None:
    with pytest.raises(Invalid, match="observed values"):
        plan_of(series_set([np.full(40, np.nan)] * 3))


@pytest.mark.parametrize(
    ("pointer", "options"),
    [
        ("/options/horizon", {"horizon": 24}),
        ("/options/season_length", {"horizon": 4, "season_length": 24}),
        ("/options/past_covariates/1", {"horizon": 4, "past_covariates": ["price", "sun"]}),
        ("/options/future_covariates/0", {"horizon": 4, "future_covariates": ["kind"]}),
        ("/options/static_covariates/0", {"horizon": 4, "static_covariates": ["price"]}),
        (
            "/options/past_covariates/0",
            {"horizon": 4, "past_covariates": ["price"], "future_covariates": ["price"]},
        ),
    ],
)
def test_options_that_do_not_fit_the_data_set(pointer: str, options: dict[str, Any]) -> None:
    assert [problem.pointer for problem in TASK.check(SUMMARY, ForecastingOptions(**options))] == [pointer]


def test_the_horizon_problem_has_the_required_length() -> None:
    (problem,) = TASK.check(SUMMARY, ForecastingOptions(horizon=24))
    assert problem.detail == "The longest series has 40 observations; horizon 24 needs at least 51."
    assert not TASK.check(SUMMARY, ForecastingOptions(horizon=18, past_covariates=["price"]))


@pytest.mark.parametrize("length", [27, 30, 51])
def test_options_that_pass_the_check_can_be_planned(length: int) -> None:
    horizon = (length - 3) // 2
    assert not TASK.check(SUMMARY | {"longest_train": length}, ForecastingOptions(horizon=horizon))
    plan = TASK.plan(series_set(waves(1, length)).arrays(), ForecastingOptions(horizon=horizon), 0)
    assert len(plan.test.lengths) == 1
    assert plan.train.batch(np.arange(2), None).weights.any()


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"horizon": 0},
        {"horizon": "5"},
        {"horizon": 5, "quantiles": [0.5, 0.5]},
        {"horizon": 5, "quantiles": [1.0]},
        {"horizon": 5, "transform": "box"},
        {"horizon": 5, "horizn": 5},
    ],
)
def test_bad_options(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ForecastingOptions(**bad)


@pytest.mark.parametrize("bad", [b'{"values":[]}', b'{"values":[true]}', b"{}", b'{"values":[1],"x":1}'])
def test_bad_instances(bad: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(bad, type=ForecastingInstance)


def test_the_median_is_always_trained() -> None:
    plan = plan_of(series_set(waves()), quantiles=[0.9, 0.2])
    assert plan.state["quantiles"] == [0.2, 0.5, 0.9]
    assert set(predict(plan, ForecastingInstance(values=[1.0, 2.0]))["quantiles"]) == {"0.2", "0.9"}


def test_a_known_item_has_its_static_columns_without_repeating_them() -> None:
    series = series_set(waves(4), static=["a", "b", "a", "b"])
    state = plan_of(series).state
    values: list[float | None] = [float(k) for k in range(1, 40)]
    explicit = encode_one(
        TASK, state, ForecastingInstance(values=values, static={"kind": "b"}), ForecastingParameters()
    )
    known = encode_one(
        TASK, state, ForecastingInstance(values=values, item_id=str(series.ids[1])), ForecastingParameters()
    )
    unknown = encode_one(
        TASK, state, ForecastingInstance(values=values, item_id="nobody"), ForecastingParameters()
    )
    assert np.array_equal(known.inputs, explicit.inputs)
    assert not np.array_equal(unknown.inputs, explicit.inputs)


@pytest.mark.parametrize(
    ("trained", "given", "whole"), [(1.0, 1.0, True), (0.5, 1.0, False), (1.0, 0.5, False)]
)
def test_quantiles_are_whole_where_the_model_and_the_instance_are(
    trained: float, given: float, whole: bool
) -> None:
    rng = np.random.default_rng(3)
    state = plan_of(series_set([trained * rng.poisson(1.0, 60).astype(float) for _ in range(5)])).state
    assert state["counts"] == (trained == 1.0)
    values: list[float | None] = [float(v) for v in given * rng.poisson(1.0, 40)]
    example = encode_one(TASK, state, ForecastingInstance(values=values), ForecastingParameters())
    outputs = rng.normal(size=HORIZON * len(state["quantiles"])).astype(np.float32)
    prediction = decode_one(TASK, state, example, outputs, ForecastingParameters())
    quantiles = np.array([prediction["median"], *prediction["quantiles"].values()])
    assert bool((quantiles == np.floor(quantiles)).all()) == whole
    assert (quantiles >= 0).all()
    assert not np.equal(prediction["mean"], np.floor(prediction["mean"])).all()


def test_covariates_may_continue_beyond_the_horizon_or_be_constant(rich: Plan) -> None:
    values: list[float | None] = [1.0, 2.0, 3.0, 4.0]

    def inputs(**fields: Any) -> Any:
        return encode_one(
            TASK, rich.state, ForecastingInstance(values=values, **fields), ForecastingParameters()
        ).inputs

    long, short = {"promo": [1.0] * (HORIZON + 9)}, {"promo": [1.0] * HORIZON}
    assert np.array_equal(inputs(future=long), inputs(future=short))
    # A column that varied in training may be the same all through a request, which then may call it static.
    assert np.array_equal(inputs(static={"footfall": 0.5}), inputs(past={"footfall": [0.5] * 4}))
