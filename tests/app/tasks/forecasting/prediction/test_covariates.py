"""What an upload reads, a request may say; what it lacks is warned of."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.errors import Invalid, Problem
from app.tasks.forecasting.inference import ForecastingInstance, ForecastingParameters
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.prediction.covariates import level_code
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.support.factories.series import series_set, waves
from tests.support.single import decode_one, encode_one

HORIZON = 4


@pytest.fixture(scope="module")
def state() -> Json:
    """A model with the static columns `shop` and `open`, past `sky`, and ahead `promo` and `day`."""
    columns = {name: np.arange(240.0) % size for name, size in (("sky", 3), ("promo", 2), ("day", 7))}
    series = series_set(
        waves(3, 80), static=["3", "4", "3"], covariates=columns, known_ahead=["promo", "day"]
    )
    series = replace(
        series,
        static_names=["shop", "open"],
        static_levels=[["3", "4"], ["True", "False"]],
        static_codes=np.array([[0, 0], [1, 1], [0, 0]], np.int32),
        covariate_levels=[["sun", "rain", "hail"], [], [str(day) for day in range(7)]],
    )
    return TASK.plan(series.arrays(), ForecastingOptions(horizon=HORIZON), 0).state


VALUES: list[float | str | None] = [10.0, 12.0, 11.0]
FULL: dict[str, Any] = {
    "start": "2024-01-01",
    "static": {"shop": "3", "open": "True"},
    "past": {"sky": ["sun", "rain", "sun"], "promo": [0.0, 1.0, 0.0], "day": ["0", "1", "2"]},
    "future": {"promo": [1.0, 0.0, 1.0, 0.0], "day": ["3", "4", "5", "6"]},
}


def inputs(state: Json, **fields: Any) -> Any:
    instance = ForecastingInstance(**{"values": VALUES, **FULL, **fields})
    return encode_one(TASK, state, instance, ForecastingParameters()).inputs


def problem(state: Json, **fields: Any) -> Problem:
    with pytest.raises(Invalid) as caught:
        inputs(state, **fields)
    return caught.value.problems[0]


def warnings(state: Json, **fields: Any) -> list[str]:
    instance = ForecastingInstance(values=VALUES, **fields)
    example = encode_one(TASK, state, instance, ForecastingParameters())
    outputs = np.zeros(HORIZON * len(state["quantiles"]), np.float32)
    prediction = decode_one(TASK, state, example, outputs, ForecastingParameters())
    listed: list[str] = prediction.get("warnings", [])
    return listed


@pytest.mark.parametrize(
    ("field", "column", "cells"),
    [
        ("past", "promo", [False, True, False]),
        ("past", "promo", ["0", " 1.0 ", "0e0"]),
        ("past", "day", [0, 1.0, 2]),
        ("future", "promo", [True, False, True, False]),
        ("future", "promo", [1, 0, "1", 0]),
        ("future", "day", [3, 4, 5.0, "6"]),
        ("static", "shop", 3),
        ("static", "shop", 3.0),
        ("static", "open", True),
    ],
)
def test_a_cell_means_what_an_upload_reads(state: Json, field: str, column: str, cells: Any) -> None:
    changed = {**FULL[field], column: cells}
    assert np.array_equal(inputs(state, **{field: changed}), inputs(state))


@pytest.mark.parametrize("missing", ["NaN", "nan", "NA", "N/A", "null", "None", ""])
def test_a_mark_of_a_missing_value_is_null(state: Json, missing: str) -> None:
    assert np.array_equal(
        inputs(state, values=[10.0, missing, 11.0]), inputs(state, values=[10.0, None, 11.0])
    )
    for field, column in (("past", "promo"), ("past", "sky"), ("future", "promo"), ("future", "day")):
        cells = FULL[field][column]
        one, other = [[mark, *cells[1:]] for mark in (missing, None)]
        assert np.array_equal(
            inputs(state, **{field: {**FULL[field], column: one}}),
            inputs(state, **{field: {**FULL[field], column: other}}),
        )
    assert warnings(state, **{**FULL, "static": {"shop": missing, "open": True}}) == []


def test_an_id_may_be_an_integer_of_any_size(state: Json) -> None:
    for item in (7, 18446744073709551615, 2**80):
        example = encode_one(
            TASK, state, ForecastingInstance(values=VALUES, item_id=item, **FULL), ForecastingParameters()
        )
        assert example.context.item_id == str(item)
    known = {**state, "items": {"7": [1, 1]}}
    explicit = inputs(state, static={"shop": 4, "open": False})
    assert np.array_equal(inputs(known, static={}, item_id=7), explicit)


def test_a_column_that_stays_the_same_may_be_static(state: Json) -> None:
    same = {
        "past": {**FULL["past"], "promo": [1.0] * 3},
        "future": {**FULL["future"], "promo": [1.0] * HORIZON},
    }
    without = {field: {k: v for k, v in FULL[field].items() if k != "promo"} for field in ("past", "future")}
    for cell in (1, 1.0, True, "1"):
        static = {**FULL["static"], "promo": cell}
        assert np.array_equal(inputs(state, **without, static=static), inputs(state, **same))
        assert warnings(state, **{**FULL, **without, "static": static}) == []


@pytest.mark.parametrize(
    ("pointer", "fields"),
    [
        ("/static/promo", {"static": {"promo": "often"}}),
        ("/past/promo/1", {"past": {"promo": [1, "often", 0]}}),
        ("/future/promo/0", {"future": {"promo": ["often", 0, 1, 0]}}),
        ("/past/promo/2", {"past": {"promo": [1, 0, 10**400]}}),
        ("/past/promo", {"past": {"promo": [1, 0]}}),
        ("/future/promo", {"future": {"promo": [1, 0, 1]}}),
        ("/future/day", {"future": {"promo": [1, 0, 1, 1], "day": []}}),
        ("/static/a~1b", {"static": {"a/b": 1}}),
    ],
)
def test_a_pointer_points_into_the_request(state: Json, pointer: str, fields: Json) -> None:
    assert problem(state, **fields).pointer == pointer


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"future": {"sky": ["sun"] * 4}}, "belongs into `past`"),
        ({"past": {"shop": ["3"] * 3}}, "belongs into `static`"),
        ({"future": {"snow": [1] * 4}}, "it knows 'promo', 'day'"),
        ({"static": {"colour": "red"}}, "it knows 'shop', 'open', 'sky', 'promo', 'day'"),
    ],
)
def test_a_column_in_the_wrong_field_is_shown_its_place(state: Json, fields: Json, words: str) -> None:
    assert words in problem(state, **fields).detail


def test_a_whole_request_has_no_warnings(state: Json) -> None:
    assert warnings(state, **FULL) == []
    nothing_known = {"promo": [None] * HORIZON, "day": [None] * HORIZON}
    assert warnings(state, **{**FULL, "future": nothing_known}) == []


@pytest.mark.parametrize(
    ("field", "columns"),
    [("static", ["shop", "open"]), ("past", ["sky", "promo", "day"]), ("future", ["promo", "day"])],
)
def test_each_column_that_the_request_lacks_is_warned_of(state: Json, field: str, columns: list[str]) -> None:
    (*listed,) = warnings(state, **{**FULL, field: {}})
    assert len(listed) == len(columns)
    for warning, column in zip(listed, columns, strict=True):
        assert f"`{field}` lacks '{column}'" in warning
    (one,) = warnings(state, **{**FULL, field: {k: v for k, v in FULL[field].items() if k != columns[0]}})
    assert repr(columns[0]) in one


def test_a_request_without_a_date_is_warned_that_the_model_has_a_calendar(state: Json) -> None:
    (warning,) = warnings(state, **{**FULL, "start": None})
    assert "`start`" in warning
    assert warnings({**state, "cycles": 0}, **{**FULL, "start": None}) == []


def test_static_columns_of_an_item_of_the_training_data_need_not_be_repeated(state: Json) -> None:
    assert warnings(state, **{**FULL, "static": {}, "item_id": "s1"}) == []
    assert len(warnings(state, **{**FULL, "static": {}, "item_id": "nobody"})) == 2


def test_unknown_levels_are_named(state: Json) -> None:
    past = {**FULL["past"], "sky": ["fog", "sun", "fog"]}
    (warning,) = warnings(state, **{**FULL, "past": past})
    assert warning.startswith("`past` has 'fog' in 'sky'")
    assert "'sun', 'rain', 'hail'" in warning
    future = {**FULL["future"], "day": [0, 9, True, 8]}
    (warning,) = warnings(state, **{**FULL, "future": future})
    assert warning.startswith("`future` has '9', 'True', '8' in 'day'")
    (warning,) = warnings(state, **{**FULL, "static": {"shop": 5, "open": True}})
    assert warning.startswith("`static` has '5' in 'shop'")


def test_a_level_may_be_the_text_of_a_missing_value() -> None:
    assert level_code("NA", ["DE", "NA"]) == 1
    assert level_code("NA", ["DE"]) == -1
    assert level_code("nowhere", ["DE"]) is None
    assert level_code(None, ["None"]) == -1
    assert level_code(2**70, [str(2**70)]) == 0


def test_what_was_not_known_ahead_names_the_option_that_makes_it_so(state: Json) -> None:
    told = problem(state, future={**FULL["future"], "sky": ["sun"] * HORIZON})
    assert told.pointer == "/future/sky"
    assert 'train with `options` {"future_covariates": ["sky"]}' in told.detail


def test_a_fraction_of_a_second_of_the_start_is_warned_of(state: Json) -> None:
    cut = "Fractions of a second are not read: that of `start` is cut off."
    assert cut in warnings(state, start="2024-01-01T00:00:00.5")
    assert cut not in warnings(state, start="2024-01-01T00:00:00.0")
