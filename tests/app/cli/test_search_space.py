"""What `--search` takes, as JSON."""

from typing import Any

import pytest
import typer

from app.cli.search_space import parse_search


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rnn,lstm,gru", ["rnn", "lstm", "gru"]),
        ("gru", ["gru"]),
        ("1,2,4", [1, 2, 4]),
        ("true,false", [True, False]),
        ("null,48", [None, 48]),
        ("7", [7]),
        ("1..3", {"min": 1, "max": 3}),
        ("-1..-0.5", {"min": -1, "max": -0.5}),
        ("0.0003..0.01:log", {"min": 0.0003, "max": 0.01, "log": True}),
        ("1e-4..1e-2:log", {"min": 1e-4, "max": 1e-2, "log": True}),
        ("16..128:step=16", {"min": 16, "max": 128, "step": 16}),
        (".1...5:step=.1", {"min": 0.1, "max": 0.5, "step": 0.1}),
        ("[[0.1, 0.5], [0.5]]", [[0.1, 0.5], [0.5]]),
        ('{"min": 1, "max": 2}', {"min": 1, "max": 2}),
        ("a..b", ["a..b"]),
        ("1..2:lin", ["1..2:lin"]),
    ],
)
def test_lists_and_ranges_are_one_word_each(text: str, expected: Any) -> None:
    assert parse_search([f"network.x={text}"]) == {"network.x": expected}


def test_several_settings_are_one_search() -> None:
    result = parse_search(["network.cell=rnn,gru", "training.learning_rate=0.1..1"])
    assert result == {"network.cell": ["rnn", "gru"], "training.learning_rate": {"min": 0.1, "max": 1}}


@pytest.mark.parametrize("text", ["network.cell", "=gru", "network.cell=", ""])
def test_what_is_no_search_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="name=values"):
        parse_search([text])
