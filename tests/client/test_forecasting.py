"""Frames of series on their way to the service and back: of pandas and of polars."""

import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from recurra.errors import InvalidInput, Json
from recurra.frames import as_frame, is_frame
from recurra.tasks.contract import Schema
from recurra.tasks.forecasting import Forecasting
from recurra.tasks.levels import interval_columns, quantiles_of_levels

TASK = Forecasting()
Make = Callable[..., Any]
MAKERS: dict[str, Make] = {"pandas": pd.DataFrame, "polars": pl.DataFrame}
at = datetime.fromisoformat
DAYS = [date(2026, 1, day) for day in (1, 2, 3)]
COLUMNS = {"unique_id": "store", "ds": "day", "y": "sales"}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Make:
    return MAKERS[request.param]


def schema(columns: Json | None = None, covariates: Json | None = None, **options: Any) -> Schema:
    summary = {"columns": columns or {}, "covariates": covariates or {}}
    return Schema({"options": {"quantiles": [0.025, 0.1, 0.5, 0.9, 0.975], **options}}, {"summary": summary})


def prediction(item: str | None, *mean: float, **more: Any) -> Json:
    quantiles = {
        name: [value + shift for value in mean]
        for name, shift in (("0.025", -2), ("0.1", -1), ("0.5", 0), ("0.9", 1), ("0.975", 2))
    }
    intervals = {
        level: {"lower": quantiles[low], "upper": quantiles[high]}
        for level, low, high in (("80", "0.1", "0.9"), ("95", "0.025", "0.975"))
    }
    stamps = [f"2026-01-{4 + step:02d}" for step in range(len(mean))]
    return {
        "item_id": item,
        "mean": list(mean),
        "median": list(mean),
        "quantiles": quantiles,
        "intervals": intervals,
        "timestamps": stamps,
    } | more


def written(data: Any, folder: Path, **columns: str) -> str:
    return TASK.write(data, None, columns, folder).path.read_text()


def test_frames_are_recognised_without_their_libraries(make: Make) -> None:
    assert is_frame(make({"a": [1]}))
    assert not any(map(is_frame, ([1], {"a": 1}, "text", None, 3)))
    with pytest.raises(InvalidInput, match="list is no data frame"):
        as_frame([1])


def test_a_frame_is_written_as_it_is(make: Make, tmp_path: Path) -> None:
    frame = make(
        {"store": ["a,b", "c", "c"], "day": DAYS, "sales": [1.5, None, 3.0], "promo": [True, False, True]}
    )
    text = written(frame, tmp_path, unique_id="store", ds="day", y="sales")
    assert text.splitlines() == [
        "store,day,sales,promo", '"a,b",2026-01-01,1.5,1', "c,2026-01-02,,0", "c,2026-01-03,3.0,1",
    ]  # fmt: skip


def test_time_stamps_are_written_without_fractions(make: Make, tmp_path: Path) -> None:
    frame = make({"ds": [at("2026-01-01T08"), at("2026-01-01T09")], "y": [1, 2]})
    rows = written(frame, tmp_path).splitlines()[1:]
    assert [row.replace("T", " ") for row in rows] == ["2026-01-01 08:00:00,1", "2026-01-01 09:00:00,2"]


def test_a_named_index_is_a_column(tmp_path: Path) -> None:
    index = pd.DatetimeIndex(pd.to_datetime(DAYS), name="day")
    frame = pd.DataFrame({"sales": [1, 2, 3]}, index=index)
    assert written(frame, tmp_path, ds="day", y="sales").splitlines()[1] == "2026-01-01,1"


def test_a_missing_column_is_named_with_its_role(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no column ds; name it with time=….*date, y"):
        written(make({"date": DAYS, "y": [1, 2, 3]}), tmp_path)
    named = (
        'no columns ds, y: name them, for example time="date", target="sales", id="store"; it has: date, sale'
    )
    with pytest.raises(InvalidInput, match=named):
        written(make({"date": DAYS, "sale": [1, 2, 3]}), tmp_path)
    with pytest.raises(InvalidInput, match=r"no column sale; name it with target="):
        written(make({"ds": DAYS, "y": [1, 2, 3]}), tmp_path, y="sale")


def test_lists_are_series_on_a_counter(tmp_path: Path) -> None:
    lines = written([[1, 2], {"item_id": "b", "target": [3]}], tmp_path).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"item_id": "0", "start": 0, "freq": 1, "target": [1, 2]}, {"item_id": "b", "target": [3]},
    ]  # fmt: skip


def test_a_series_is_asked_as_columns(make: Make) -> None:
    frame = make(
        {
            "store": [1, 2, 1],
            "day": [DAYS[0], DAYS[0], DAYS[1]],
            "sales": [1.0, float("nan"), 3.0],
            "heat": [7, 8, 9],
            "note": ["x", "y", "z"],
        }
    )
    known = schema(COLUMNS, {"numeric": ["heat"]})
    assert list(TASK.inputs(frame, {}, known, {}).instances) == [
        {"heat": [7, 9], "ds": ["2026-01-01", "2026-01-02"], "y": [1.0, 3.0], "unique_id": "1"},
        {"heat": [8], "ds": ["2026-01-01"], "y": [None], "unique_id": "2"},
    ]


def test_covariates_known_ahead_follow_the_values(make: Make) -> None:
    frame = make({"ds": DAYS[:2], "y": [1, 2], "promo": [0, 1], "heat": [5, 6]})
    future = make({"ds": DAYS[2:], "promo": [1]})
    known = schema({}, {"numeric": ["promo", "heat"]})
    (series,) = TASK.inputs(frame, {}, known, {"future": future}).instances
    assert series == {
        "ds": ["2026-01-01", "2026-01-02", "2026-01-03"], "y": [1, 2, None], "promo": [0, 1, 1],
        "heat": [5, 6, None],
    }  # fmt: skip


def test_a_future_of_an_unknown_series_is_refused(make: Make) -> None:
    frame = make({"unique_id": ["a"], "ds": DAYS[:1], "y": [1]})
    future = make({"unique_id": ["b"], "ds": DAYS[1:2], "promo": [1]})
    with pytest.raises(InvalidInput, match="does not have: b"):
        TASK.inputs(frame, {}, schema({}, {"numeric": ["promo"]}), {"future": future})


AHEAD = schema({}, {"numeric": ["promo"]}, future_covariates=["promo"])


def asked(make: Make, future: Json, known: Schema = AHEAD, **columns: Any) -> Any:
    frame = make({"ds": DAYS[:2], "y": [1.0, 2.0], "promo": [0, 1], **columns})
    return TASK.inputs(frame, {}, known, {"future": make(future)})


def test_a_future_that_is_not_after_the_history_is_refused(make: Make) -> None:
    with pytest.raises(
        InvalidInput, match="row for 2025-12-01, which is not after its last value at 2026-01-02"
    ):
        asked(make, {"ds": [date(2025, 12, 1)], "promo": [1]})
    with pytest.raises(InvalidInput, match="of series 'a' has a row for 2026-01-02"):
        asked(make, {"unique_id": ["a"], "ds": DAYS[1:2], "promo": [1]}, unique_id=["a", "a"])
    ahead = make({"ds": DAYS, "y": [1.0, 2.0, None], "promo": [0, 1, 1]})
    TASK.inputs(ahead, {}, AHEAD, {"future": make({"ds": [date(2026, 1, 4)], "promo": [1]})})


def test_a_future_that_does_not_continue_the_history_is_a_warning(make: Make) -> None:
    inputs = asked(make, {"ds": [date(2027, 1, 3)], "promo": [1]})
    with pytest.warns(UserWarning, match="no row for 2026-01-03; the forecast does without promo") as caught:
        inputs.finish([prediction(None, 1.0, timestamps=["2026-01-03"])])
    assert len(caught) == 1
    inputs = asked(make, {"unique_id": ["a"], "ds": DAYS[1:2], "promo": [1]}, unique_id=["a", "b"])
    stamps = (["2026-01-02"], ["2026-01-03"])
    with pytest.warns(UserWarning, match="of series 'b' has no row for 2026-01-03"):
        inputs.finish([prediction(one, 1.0, timestamps=time) for one, time in zip("ab", stamps, strict=True)])


def test_a_future_that_continues_the_history_is_no_warning(make: Make) -> None:
    asked(make, {"ds": DAYS[2:], "promo": [1]}).finish([prediction(None, 1.0, timestamps=["2026-01-03"])])


def test_a_future_without_its_columns_is_a_warning(make: Make) -> None:
    with pytest.warns(UserWarning, match="future has no column promo"):
        asked(make, {"ds": DAYS[2:], "other": [1]})
    with pytest.warns(UserWarning, match="trained without future_covariates"):
        asked(make, {"ds": DAYS[2:], "promo": [1]}, schema({}, {"numeric": ["promo"]}, future_covariates=[]))


def test_infinity_is_refused_with_its_place(make: Make) -> None:
    frame = make({"store": ["a", "b"], "day": DAYS[:2], "sales": [1.0, float("inf")]})
    with pytest.raises(InvalidInput, match=r"sales is infinite in row 1 of the frame \(series 'b'\)"):
        TASK.inputs(frame, {}, schema(COLUMNS), {})
    with pytest.raises(InvalidInput, match="value 1 of series 1 is infinite"):
        TASK.inputs([[1.0], [2.0, float("-inf")]], {}, schema(), {})


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_row_without_an_id_is_refused(missing: Any) -> None:
    frame = pd.DataFrame(
        {"store": [1.0, missing], "day": DAYS[:2], "sales": [1.0, 2.0]}, index=["first", "second"]
    )
    with pytest.raises(InvalidInput, match="store is missing in row second of the frame"):
        TASK.inputs(frame, {}, schema(COLUMNS), {})
    with pytest.raises(InvalidInput, match="store is missing in row 1"):
        TASK.inputs(pl.DataFrame(frame.to_dict("list"), strict=False), {}, schema(COLUMNS), {})


def test_places_are_in_the_words_of_the_frame(make: Make, tmp_path: Path) -> None:
    frame = make({"store": ["a", "b", "a"], "day": DAYS, "sales": [1.0, 2.0, 3.0]})
    inputs = TASK.inputs(frame, {}, schema(COLUMNS), {})
    assert inputs.place(["0", "y", "1"]) == "series 'a', column sales, row 2"
    assert inputs.place(["1"]) == "series 'b'"
    assert (inputs.place([]), inputs.place(["9"]), inputs.place(["x"])) == (None, None, None)
    columns = {"unique_id": "store", "ds": "day", "y": "sales"}
    place = TASK.write(frame, None, columns, tmp_path).place
    assert place(["row", "3", "column", "y"]) == "column sales, row 1"
    assert place(["row", "9", "column", "none"]) is None
    lines = make({"store": ["a", "b\nc", "a"], "day": DAYS, "sales": [1.0, 2.0, 3.0]})
    assert TASK.write(lines, None, columns, tmp_path).place(["row", "3"]) is None


def test_rows_that_are_not_told_apart_hint_at_ids(make: Make, tmp_path: Path) -> None:
    frame = make({"ds": DAYS, "y": [1.0, 2.0, 3.0], "heat": [0.5, 1.5, 2.5], "shop": ["a", "b", "c"]})
    hint = TASK.write(frame, None, {}, tmp_path).hint
    assert hint is not None
    assert 'id="shop"' in str(hint("Duplicate time stamp: series 'series' has this one in row 2 too."))
    assert hint("is missing") is None


def test_nothing_is_no_data() -> None:
    with pytest.raises(InvalidInput, match="needs data"):
        TASK.inputs(None, {}, schema(), {})


def test_forecasts_have_the_names_and_types_of_the_frame(make: Make) -> None:
    frame = make({"store": [7, 8], "day": [at("2026-01-03"), at("2026-01-03")], "sales": [1.0, 2.0]})
    inputs = TASK.inputs(frame, {}, schema(COLUMNS), {"level": [80, 95]})
    table = inputs.finish([prediction("7", 10.0, 11.0), prediction("8", 20.0, 21.0)])
    assert list(table.columns) == ["store", "day", "mean", "median", "lo-95", "lo-80", "hi-80", "hi-95"]
    assert table["store"].dtype == frame["store"].dtype
    assert table["day"].dtype == frame["day"].dtype
    assert table["store"].to_list() == [7, 7, 8, 8]
    assert table["day"].to_list()[:2] == [at("2026-01-04"), at("2026-01-05")]
    assert (table["mean"].to_list(), table["lo-80"].to_list()) == ([10, 11, 20, 21], [9, 10, 19, 20])
    assert table["hi-95"].to_list() == [12, 13, 22, 23]


def test_without_ids_and_levels_all_intervals_are_there(make: Make) -> None:
    frame = make({"ds": [1, 2], "y": [1.0, 2.0]})
    table = TASK.inputs(frame, {}, schema(), {}).finish([prediction(None, 1.0, timestamps=[3])])
    assert list(table.columns) == ["ds", "mean", "median", "lo-95", "lo-80", "hi-80", "hi-95"]
    assert table["ds"].to_list() == [3]


def test_dates_and_zones_stay_what_they_are() -> None:
    days = pl.DataFrame({"ds": DAYS, "y": [1, 2, 3]})
    assert TASK.inputs(days, {}, schema(), {}).finish([prediction(None, 1.0)])["ds"].dtype == pl.Date
    hours = pd.date_range("2026-01-01", periods=3, freq="h", tz="Europe/Paris")
    frame = pd.DataFrame({"ds": hours, "y": [1, 2, 3]})
    inputs = TASK.inputs(frame, {}, schema(), {})
    assert inputs.instances[0]["ds"][0] == "2026-01-01T00:00:00+01:00"
    table = inputs.finish([prediction(None, 1.0, timestamps=["2026-01-01T02:00:00Z"])])
    assert table["ds"].tolist() == [pd.Timestamp("2026-01-01 03:00", tz="Europe/Paris")]
    zoned = pl.from_pandas(frame)
    table = TASK.inputs(zoned, {}, schema(), {}).finish(
        [prediction(None, 1.0, timestamps=["2026-01-01T02:00:00Z"])]
    )
    assert table["ds"].dtype == zoned["ds"].dtype


def test_warnings_of_the_service_are_warnings(make: Make) -> None:
    frame = make({"unique_id": ["a", "b"], "ds": DAYS[:2], "y": [1, 2]})
    inputs = TASK.inputs(frame, {}, schema(), {})
    with pytest.warns(UserWarning, match="a: heat is missing") as caught:
        inputs.finish([prediction(item, 1.0, warnings=["heat is missing"]) for item in "ab"])
    assert len(caught) == 1


def test_lists_answer_with_objects() -> None:
    inputs = TASK.inputs([1, 2, float("nan")], {}, schema(), {})
    assert inputs.instances == [{"values": [1, 2, None]}]
    assert inputs.finish([prediction(None, 4.0)]).mean == [4.0]
    several = TASK.inputs([[1, 2], {"values": [3], "start": "2026-01-01"}], {}, schema(), {})
    assert several.instances == [{"values": [1, 2]}, {"values": [3], "start": "2026-01-01"}]
    with pytest.warns(UserWarning, match="1: short") as caught:
        several.finish([prediction(None, 1.0), prediction(None, 1.0, warnings=["short"])])
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="^short"):
        inputs.finish([prediction(None, 4.0, warnings=["short"])])
    assert [one.item_id for one in several.finish([prediction("x", 1.0), prediction("y", 1.0)])] == ["x", "y"]


def test_levels_of_a_training_become_its_quantiles() -> None:
    assert TASK.options({"horizon": 3}) == {"horizon": 3}
    assert TASK.options({"level": 90}) == TASK.options({"level": [90]}) == {"quantiles": [0.05, 0.5, 0.95]}
    assert TASK.options({"level": [80], "quantiles": [0.3]})["quantiles"] == [0.1, 0.3, 0.5, 0.9]
    assert quantiles_of_levels([80, 99.9]) == [0.0005, 0.1, 0.5, 0.9, 0.9995]
    with pytest.raises(InvalidInput, match="between 0 and 100, not 100"):
        quantiles_of_levels([100])


def test_levels_of_a_request_are_its_own() -> None:
    parameters = {"level": 80, "horizon": 3, "future": None}
    assert TASK.parameters(parameters, schema()) == {"horizon": 3, "level": [80]}
    assert TASK.parameters({"level": [80, 95.5]}, schema()) == {"level": [80, 95.5]}


def test_intervals_are_columns_from_the_outermost_in_and_out() -> None:
    answer: Json = {"quantiles": {"0.1": [1.0], "0.5": [2.0], "0.9": [3.0], "0.7": [2.5]}}
    assert interval_columns(answer, None) == {"lo-80": [1.0], "hi-80": [3.0]}
    answer["intervals"] = {"80": {"lower": [1.0], "upper": [3.0]}, "95.5": {"lower": [0.0], "upper": [4.0]}}
    assert list(interval_columns(answer, [95.5, 80])) == ["lo-95.5", "lo-80", "hi-80", "hi-95.5"]
    assert interval_columns(answer, [80]) == {"lo-80": [1.0], "hi-80": [3.0]}
