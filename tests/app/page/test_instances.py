"""Examples of a data set become instances that a version takes."""

import msgspec
import pytest

from app.page.forms import instances
from app.page.forms.instances import SeriesColumns, example_instance, series_instance
from app.page.forms.schemas import read_fields
from app.tasks import TASKS
from app.typedefs import Json

SERIES: Json = {
    "item_id": "a",
    "freq": "D",
    "timestamps": [f"2020-01-0{day}" for day in range(1, 6)],
    "values": [1.0, 2.0, None, 4.0, None],
    "length": 5,
    "truncated": False,
    "static": {"city": "Rome", "kind": "x"},
    "covariates": {"price": [5, 6, 7, 8, 9], "promo": ["y", "n", "y", "n", "y"]},
}


def columns(options: Json, **summary: object) -> SeriesColumns:
    return SeriesColumns.of({"options": {"horizon": 2, **options}}, summary)


def test_a_series_ends_with_its_last_value_and_has_what_is_known_ahead() -> None:
    instance, actual = series_instance(SERIES, columns({}, known_ahead=["promo"]))
    assert instance == {
        "item_id": "a",
        "freq": "D",
        "start": "2020-01-01",
        "values": [1.0, 2.0, None, 4.0],
        "past": {"price": [5, 6, 7, 8], "promo": ["y", "n", "y", "n"]},
        "future": {"promo": ["y", None]},  # an entry for each step of the horizon
        "static": {"city": "Rome", "kind": "x"},
    }
    assert actual == []


def test_the_end_of_a_series_can_be_held_back() -> None:
    chosen = columns({"past_covariates": [], "future_covariates": ["price"], "static_covariates": ["city"]})
    instance, actual = series_instance(SERIES, chosen, held_back=2)
    assert (instance["values"], actual) == ([1.0, 2.0], [None, 4.0])
    assert (instance["past"], instance["future"]) == ({"price": [5, 6]}, {"price": [7, 8]})
    assert instance["static"] == {"city": "Rome"}


def test_a_long_series_has_its_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "MAX_STEPS", 3)
    instance, _ = series_instance(SERIES, columns({}))
    assert (instance["start"], instance["values"]) == ("2020-01-02", [2.0, None, 4.0])
    assert instance["past"]["price"] == [6, 7, 8]


@pytest.mark.parametrize(("length", "held_back"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (9, 2)])
def test_half_of_a_short_series_is_left(length: int, held_back: int) -> None:
    row = SERIES | {
        "values": [1.0] * length + [None],
        "timestamps": list(range(length + 1)),
        "covariates": {},
    }
    assert columns({}).held_back(row) == held_back


def test_examples_fill_the_fields_that_they_have() -> None:
    def filled(task: str, row: Json) -> Json:
        return example_instance(row, read_fields(msgspec.json.schema(TASKS[task].instance)))

    assert filled("classification", {"text": "so", "label": "x"}) == {"text": "so"}
    assert filled("translation", {"source": "si", "target": "yes"}) == {"text": "si"}
    assert filled("generation", {"text": "x" * 1_000}) == {"prompt": "x" * 200}
    assert filled("speech", {"audio": "a.wav", "audio_base64": "UklG"}) == {}
    assert filled("tagging", {"tokens": ["a"], "tags": ["O"]}) == {"tokens": ["a"]}
