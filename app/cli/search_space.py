"""The arguments of `recurra sweep --search`: a list or a range in one word, as JSON."""

import re
from collections.abc import Iterable
from typing import Any

import typer

from app.cli.values import parse_value
from app.typedefs import Json

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})(?::(log)|:step=({NUMBER}))?")


def parse_search(arguments: Iterable[str]) -> Json:
    """Parse `network.cell=rnn,lstm,gru`, `training.learning_rate=0.0003..0.01:log`, `network.layers=1..3`."""
    space: Json = {}
    for text in arguments:
        name, equals, values = text.partition("=")
        if not equals or not name or not values:
            raise typer.BadParameter(f"--search wants name=values, not {text!r}")
        space[name] = _parse_dimension(values)
    return space


def _parse_dimension(text: str) -> Any:
    value = parse_value(text)
    if isinstance(value, list | dict):
        return value
    if (match := RANGE.fullmatch(text)) is None:
        return [parse_value(part) for part in text.split(",")]
    low, high, log, step = match.groups()
    scale = {"log": True} if log else {"step": _parse_number(step)} if step else {}
    return {"min": _parse_number(low), "max": _parse_number(high), **scale}


def _parse_number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
