"""What `recurra sweep --search` takes: lists and ranges in one word each, as JSON."""

import re
from collections.abc import Iterable
from typing import Any

import typer

from app.cli.values import parse
from app.typedefs import Json

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})(?::(log)|:step=({NUMBER}))?")


def searched(given: Iterable[str]) -> Json:
    """Read `network.cell=rnn,lstm,gru`, `training.learning_rate=0.0003..0.01:log`, `network.layers=1..3`."""
    found: Json = {}
    for text in given:
        name, equals, values = text.partition("=")
        if not equals or not name or not values:
            raise typer.BadParameter(f"--search wants name=values, not {text!r}")
        found[name] = _dimension(values)
    return found


def _dimension(text: str) -> Any:
    whole = parse(text)
    if isinstance(whole, list | dict):
        return whole
    if (found := RANGE.fullmatch(text)) is None:
        return [parse(value) for value in text.split(",")]
    low, high, log, step = found.groups()
    more = {"log": True} if log else {"step": _number(step)} if step else {}
    return {"min": _number(low), "max": _number(high), **more}


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
