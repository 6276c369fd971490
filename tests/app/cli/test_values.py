"""key=value arguments and prediction files as JSON."""

from typing import Any

import pytest
import typer

from app.cli.values import in_lists, parse_body, parse_columns, parse_pairs
from app.tasks import TASKS
from recurra import InvalidInput


def test_values_are_json_where_they_parse_and_text_elsewhere() -> None:
    value = [
        "horizon=24",
        "quantiles=[0.1,0.9]",
        "cell=gru",
        "refit=false",
        "max_seconds=null",
        "note=a=b",
        "empty=",
    ]
    assert parse_pairs(value, "--option") == {
        "horizon": 24, "quantiles": [0.1, 0.9], "cell": "gru", "refit": False,
        "max_seconds": None, "note": "a=b", "empty": "",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["horizon", "=24", ""])
def test_what_is_no_pair_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--option wants key=value"):
        parse_pairs([text], "--option")


def test_columns_are_one_list() -> None:
    assert parse_columns("ds=date,y=temp_max") == {"ds": "date", "y": "temp_max"}
    assert parse_columns("y=2024") == {"y": "2024"}
    assert parse_columns(None) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"text": "a"}\n\n{"text": "b"}\n', {"instances": [{"text": "a"}, {"text": "b"}]}),
        ('{"text": "a"}', {"instances": [{"text": "a"}]}),
        ('[{"text": "a"}]', {"instances": [{"text": "a"}]}),
        (
            '{"instances": [{"text": "a"}],\n "parameters": {"top_k": 2}}',
            {"instances": [{"text": "a"}], "parameters": {"top_k": 2}},
        ),
    ],
)
def test_a_file_is_lines_or_a_list_or_a_body(text: str, expected: dict[str, Any]) -> None:
    assert parse_body(text) == expected


def test_a_bad_line_is_named() -> None:
    with pytest.raises(InvalidInput, match="line 2 is not JSON"):
        parse_body('{"text": "a"}\n{"text": \n')
    with pytest.raises(InvalidInput, match="no instances"):
        parse_body("\n")


def test_one_value_is_a_list_of_one_where_the_task_takes_a_list() -> None:
    pairs = {"level": 80, "horizon": 3, "quantiles": [0.1], "unknown": 1}
    listed = {"level": [80], "horizon": 3, "quantiles": [0.1], "unknown": 1}
    assert in_lists(pairs, TASKS["forecasting"].parameters) == listed
    assert in_lists({"level": None}, TASKS["forecasting"].parameters) == {"level": None}
