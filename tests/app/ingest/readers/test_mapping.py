import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DatasetInvalid, Problem, pointer
from app.ingest.readers.mapping import MAX_COLUMN_NAME_CHARS, MAX_COLUMNS_SHOWN, Mapping, list_columns

CANONICAL = ("unique_id", "ds", "y", "split")


def problems(columns: dict[str, str], header: list[str]) -> list[Problem]:
    with pytest.raises(DatasetInvalid) as caught:
        Mapping.checked(columns, CANONICAL).canonical_names(header)
    return caught.value.problems


def test_without_a_mapping_every_named_column_keeps_its_name() -> None:
    assert Mapping.checked({}, CANONICAL).canonical_names(["ds", "", "Preis €"]) == ["ds", None, "Preis €"]


def test_two_columns_may_swap_their_names() -> None:
    mapping = Mapping.checked({"ds": "y", "y": "ds"}, CANONICAL)
    assert mapping.canonical_names(["ds", "y", "x"]) == ["y", "ds", "x"]


def test_a_column_whose_name_was_given_away_is_left_out() -> None:
    assert Mapping.checked({"y": "high"}, CANONICAL).canonical_names(["ds", "y", "high"]) == ["ds", None, "y"]


def test_a_mapping_onto_the_same_name_changes_nothing() -> None:
    assert Mapping.checked({"y": "y"}, CANONICAL).canonical_names(["ds", "y"]) == ["ds", "y"]


@given(
    st.lists(st.text(st.characters(exclude_characters="\0"), max_size=8), unique=True, min_size=1), st.data()
)
def test_exactly_one_column_gets_each_mapped_name(columns: list[str], data: st.DataObject) -> None:
    named = [name for name in columns if name]
    chosen = data.draw(st.lists(st.sampled_from(named), unique=True, max_size=4)) if named else []
    mapping = Mapping.checked(dict(zip(CANONICAL, chosen, strict=False)), CANONICAL)
    names = mapping.canonical_names(columns)
    assert len(names) == len(columns)
    present = [name for name in names if name is not None]
    assert len(set(present)) == len(present)
    for canonical, column in mapping.columns.items():
        assert names[columns.index(column)] == canonical
    for column, name in zip(columns, names, strict=True):
        assert name in (None, column, column.strip().casefold()) or column in chosen


def test_every_wrong_name_is_reported_with_its_pointer() -> None:
    result = problems({"target": "a", "ds": "b", "y": "b"}, ["a", "b"])
    assert [problem.pointer for problem in result] == ["/columns/target", "/columns/ds", "/columns/y"]
    assert "it has unique_id, ds, y, split" in result[0].detail


def test_a_column_that_is_not_there_is_reported_with_those_that_are() -> None:
    [problem] = problems({"ds": "Day"}, ["day", "y"])  # case matters
    assert problem == ("/columns/ds", "The file has no column 'Day'; it has day, y.")


def test_an_over_long_name_is_refused_before_anything_else() -> None:
    [problem] = problems({"ds": "none"}, ["x" * (MAX_COLUMN_NAME_CHARS + 1)])
    assert problem.pointer == "/file/row/1"
    assert Mapping({}).canonical_names(["x" * MAX_COLUMN_NAME_CHARS]) == ["x" * MAX_COLUMN_NAME_CHARS]


def test_a_name_that_cannot_be_stored_is_refused() -> None:
    [problem] = problems({}, ["ds", "a\0b"])
    assert problem == ("/file/row/1", "The name of a column has a NUL character.")


def test_a_message_names_few_columns_and_cuts_long_ones() -> None:
    assert list_columns(["a", "b"]) == "a, b"
    assert (
        list_columns([str(number) for number in range(MAX_COLUMNS_SHOWN)]).count(",") == MAX_COLUMNS_SHOWN - 1
    )
    assert list_columns([str(number) for number in range(MAX_COLUMNS_SHOWN + 3)]).endswith(" and 3 more")
    assert len(list_columns(["x" * 200] * 500)) < MAX_COLUMNS_SHOWN * 43


@given(st.text(), st.text())
def test_a_pointer_tells_any_two_names_apart(one: str, other: str) -> None:
    assert (pointer(one) == pointer(other)) == (one == other)
    step = pointer(one).removeprefix("/")
    assert "/" not in step
    assert step.replace("~1", "/").replace("~0", "~") == one
    json.dumps(step)
