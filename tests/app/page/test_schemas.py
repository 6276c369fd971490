"""Forms come from the tasks' own schemas, whatever task it is."""

import msgspec
import pytest

from app.page.forms.schemas import FieldKind, parse_list, read_fields
from app.tasks import TASKS
from app.typedefs import Json


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_field_of_a_task_is_understood(name: str) -> None:
    task = TASKS[name]
    schemas: list[Json] = [task.options.model_json_schema(), msgspec.json.schema(task.instance)]
    schemas.append(msgspec.json.schema(task.parameters))
    for schema in schemas:
        fields = read_fields(schema)
        flat = schema if "properties" in schema else next(iter(schema["$defs"].values()))
        assert {field.name for field in fields} >= set(flat.get("properties", {}).keys()) or "$ref" in schema
        required = [field.required for field in fields]
        assert required == sorted(required, reverse=True)
    options = {field.name: field for field in read_fields(schemas[0])}
    assert all(field.description for field in options.values())
    binary = {field.name for field in read_fields(schemas[1]) if field.kind is FieldKind.FILE}
    assert binary == {field.name for field in task.tensor_inputs if field.binary}


def test_kinds_of_fields() -> None:
    fields = {field.name: field for field in read_fields(TASKS["forecasting"].options.model_json_schema())}
    assert fields["horizon"].kind is FieldKind.INTEGER
    assert (fields["horizon"].minimum, fields["horizon"].maximum) == (1, 1000)
    assert fields["horizon"].label == "Horizon (required)"
    assert (fields["quantiles"].kind, fields["quantiles"].of_numbers) == (FieldKind.LIST, True)
    assert fields["transform"].choices == ("auto", "log", "signed", "none")
    assert fields["refit"].kind is FieldKind.SWITCH
    assert (fields["past_covariates"].kind, fields["past_covariates"].of_numbers) == (FieldKind.LIST, False)
    values = {field.name: field for field in read_fields(msgspec.json.schema(TASKS["forecasting"].instance))}
    assert (values["values"].kind, values["values"].of_numbers) == (FieldKind.LIST, True)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1, 2.5, null", [1, 2.5, None]),
        ("1 2 -3", [1, 2, -3]),
        ("1;2", [1, 2]),
        ("4\n5\n", [4, 5]),
        ("[1, 2]", [1, 2]),
        ("7", [7]),
        ("1,2,3", [1, 2, 3]),
        ("1,5; 2,5; -3,5; 4", [1.5, 2.5, -3.5, 4]),
        ("1,250; 2,5", [1.25, 2.5]),
        ("1, 2,\n3, 4", [1, 2, 3, 4]),
        ("1.5,2.5, 3", [1.5, 2.5, 3]),
        ("1,2,3\n4,5", [1, 2, 3, 4, 5]),
    ],
)
def test_numbers_that_are_typed(text: str, values: list[float | None]) -> None:
    assert parse_list(text, numbers=True) == values


def test_texts_that_are_typed() -> None:
    assert parse_list("a b, c,, d ", numbers=False) == ["a b", "c", "d"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1, 2, hello", r"hello is not a number \(item 3\)"),
        ("1 2x", r"2x is not a number \(item 2\)"),
        ("1, 2; 3", r"1, 2 is not a number \(item 1\)"),
        ("1,5 2,5", "1,5 may be one number or two; write 1.5, or 1, 5 with a blank"),
        ("1,5, 2,5", "1,5 may be one number or two"),
        ("1,5", "1,5 may be one number or two"),
        ("1,000; 2,000", "1,000 may be one number or two"),
    ],
)
def test_what_is_no_number_or_ambiguous_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_list(text, numbers=True)
