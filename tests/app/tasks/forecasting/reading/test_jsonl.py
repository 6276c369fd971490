from typing import Any

import numpy as np
import pytest

from app.errors import DatasetInvalid
from app.tasks.forecasting.reading.table import read_series
from app.tasks.forecasting.series import SeriesSet
from app.tasks.source import Faults
from app.typedefs import Json
from tests.support.fakes.sources import MemorySource


def read(*items: Json) -> tuple[SeriesSet, Json, list[str]]:
    faults = Faults()
    result = read_series(MemorySource("jsonl", objects=items), faults)
    faults.check()
    return result


def item(name: str | None = "a", **fields: Any) -> Json:
    record = {"start": "2024-01-01", "freq": "D", "target": [1, 2, 3, 4]} | fields
    return record if name is None else {"item_id": name} | record


def refused(*items: Json) -> list[tuple[str, str]]:
    with pytest.raises(DatasetInvalid) as caught:
        read(*items)
    return [(problem.pointer, problem.detail) for problem in caught.value.problems]


def test_series_lie_one_behind_the_other() -> None:
    series, summary, warnings = read(item("b", target=[1, None, 2.5]), item("a", start="2024-01-03"))
    assert series.ids.tolist() == ["b", "a"]
    assert np.array_equal(series.values, [1, np.nan, 2.5, 1, 2, 3, 4], equal_nan=True)
    assert np.diff(series.starts).tolist() == [2]
    assert (summary["rows"], summary["longest"]) == (7, 4)
    assert summary["span"] == {"start": "2024-01-01", "end": "2024-01-06"}
    assert warnings == ["1 series have fewer than 3 observed values."]


@pytest.mark.parametrize("missing", [None, "NaN", "nan", float("nan")])
def test_missing_targets(missing: object) -> None:
    series, _, _ = read(item(target=[1, missing, 3, 4]))
    assert np.isnan(series.values).tolist() == [False, True, False, False]


def test_old_and_new_names_of_one_frequency_go_together() -> None:
    series, _, _ = read(item("a", freq="M"), item("b", freq="ME"))
    assert series.freq == "ME"


def test_the_frequency_of_most_series_is_assumed() -> None:
    others = [item(f"s{number}", freq="D") for number in range(30)]
    [(pointer, detail)] = refused(item("a", freq="MS"), *others)
    assert pointer == "/file/row/1/column/freq"
    assert "series 'a' has MS, 30 of the 31 series D" in detail


@pytest.mark.parametrize("freq", ["ms", "1ms", "10ms", "100ms"])
def test_milliseconds_are_no_months(freq: str) -> None:
    [(pointer, detail)] = refused(item("a", freq=freq))
    assert pointer == "/file/row/1/column/freq"
    assert "milliseconds" in detail


def test_integer_time() -> None:
    series, summary, _ = read(item("a", start=5, freq=1), item("b", start="7", freq="1"))
    assert (series.freq, series.starts.tolist()) == ("1", [5, 7])
    assert summary["span"] == {"start": 5, "end": 10}


def test_series_without_ids_are_named_by_their_lines() -> None:
    assert read(item(None), item(None), item("x"))[0].ids.tolist() == ["series_1", "series_2", "x"]


def test_categories_are_static_columns() -> None:
    series, summary, _ = read(item("a", cat=["x", 1]), item("b", cat=["y", None]), item("c", cat=["x", 2]))
    assert series.static_names == summary["covariates"]["static"] == ["cat_0", "cat_1"]
    assert series.static_levels == [["x", "y"], ["1", "2"]]
    assert series.static_codes.tolist() == [[0, 0], [1, -1], [0, 1]]


def test_features_are_covariates_known_ahead() -> None:
    feats = [[1, 2, 3, 4, 5, 6], [0.5, None, 0, 0, 0, 1]]
    series, summary, _ = read(item("a", dynamic_feat=feats), item("b", dynamic_feat=[[1] * 4, [2] * 4]))
    assert series.known_ahead == summary["known_ahead"] == ["feat_0", "feat_1"]
    assert series.offsets.tolist() == [0, 6, 10]
    assert np.isnan(series.values).tolist() == [False] * 4 + [True] * 2 + [False] * 4
    assert series.covariates.shape == (10, 2)
    assert np.array_equal(series.covariates[:6, 1], [0.5, np.nan, 0, 0, 0, 1], equal_nan=True)
    assert (summary["longest"], summary["missing_share"]) == (4, 0.0)


def test_a_split_holds_for_a_whole_series() -> None:
    series, summary, _ = read(item("a", split="train"), item("b", split="test", target=[1, 2, 3, 4, 5]))
    assert series.splits.tolist() == [1] * 4 + [3] * 5
    assert summary["split"] == {"train": 4, "valid": 0, "test": 5}
    assert summary["longest_train"] == 4


def test_an_unused_field_has_one_warning() -> None:
    _, _, warnings = read(item("a", colour="red"), item("b", colour="blue"))
    assert warnings == ["The field 'colour' (first in line 1) is not used."]


def test_every_wrong_line_is_a_fault() -> None:
    problems = refused(
        item("a"), item("b", freq="h"), item("a"), item("c", start=None), item("d", target="1")
    )
    assert sorted(pointer for pointer, _ in problems) == [
        "/file/row/2/column/freq",
        "/file/row/3/column/item_id",
        "/file/row/4/column/start",
        "/file/row/5/column/target",
    ]


@pytest.mark.parametrize(
    ("fields", "field", "word"),
    [
        ({"item_id": True}, "item_id", "True"),
        ({"item_id": "x" * 300}, "item_id", "256"),
        ({"item_id": "a\0"}, "item_id", "NUL"),
        ({"freq": True}, "freq", "missing"),
        ({"start": True}, "start", "missing"),
        ({"start": "1/2/2024"}, "start", "ambiguous"),
        ({"target": [1, {}]}, "target", "Value 1"),
        ({"target": [1, -1e301]}, "target", "Value 1 is beyond"),
        ({"dynamic_feat": [[1, 2, 3, 1e39]]}, "dynamic_feat", "Value 3 is beyond"),
        ({"dynamic_feat": [[1] * 4, [1] * 5]}, "dynamic_feat", "as long"),
        ({"dynamic_feat": {"a": 1}}, "dynamic_feat", "arrays"),
        ({"cat": [[1]]}, "cat", "texts or integers"),
        ({"split": 1}, "split", "1"),
    ],
)
def test_fields_of_the_wrong_kind(fields: Json, field: str, word: str) -> None:
    [(pointer, detail)] = refused(item(**fields))
    assert pointer == f"/file/row/1/column/{field}"
    assert word in detail


def test_a_file_without_series() -> None:
    assert refused()[0][0] == "/file/row/1"


@pytest.mark.parametrize("text", ["NA", "n/a", "null", "#N/A"])
def test_texts_read_as_missing_are_named(text: str) -> None:
    feats = [[1, 2, 3, 4], [1, text, 3, 4]]
    series, _, warnings = read(item("a"), item("b", target=[1, text, 3, 4]))
    assert np.isnan(series.values).sum() == 1
    assert warnings == [
        f"In the column 'target' the text {text!r} (first in row 2) is read as a missing value."
    ]
    _, _, warnings = read(item("a", dynamic_feat=feats))
    assert f"In the column 'dynamic_feat' the text {text!r}" in warnings[0]


@pytest.mark.parametrize("start", ["2024-01-01T00:00:00.500", 1704067200500])
def test_the_fraction_of_a_start_is_not_dropped_in_silence(start: str | int) -> None:
    series, _, warnings = read(
        item(freq="s", start=start), item("b", freq="s", start="2024-01-01T00:00:00.000")
    )
    assert series.starts.tolist() == [series.starts[1]] * 2
    assert warnings == ["Fractions of a second are not read: those of 1 time stamps are cut off."]


def test_a_field_that_no_line_has_is_told_once() -> None:
    lines = [{"item_id": str(number), "start": "2024-01-01", "target": [1, 2, 3]} for number in range(30)]
    [(pointer, detail)] = refused(*lines)
    assert pointer == "/file/row/1/column/freq"
    assert "frequency is missing" in detail


def test_a_row_a_line_with_other_names_is_told_once() -> None:
    for lines in (
        [{"item_id": "a", "timestamp": f"2024-01-{day:02}", "target": float(day)} for day in range(1, 30)],
        [{"item_id": "a", "start": f"2024-01-{day:02}", "value": day} for day in range(1, 30)],
    ):
        faults = dict(refused(*lines))
        assert list(faults) == ["/file/row/1/column/ds", "/file/row/1/column/y"]
        assert ", ".join(lines[0]) in faults["/file/row/1/column/y"]
        assert "name it with `columns`" in faults["/file/row/1/column/y"]
