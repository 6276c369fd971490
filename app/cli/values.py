"""Arguments of the form `key=value`, and files of instances, as JSON."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect
import typer

from app.cli.parameter_kinds import value_kinds
from app.errors import DatasetInvalid
from app.typedefs import Json
from recurra import InvalidInput

STDIN = Path("-")


def parse_pairs(arguments: Iterable[str], option: str) -> Json:
    """Parse `key=value` arguments; a value is JSON where it parses, else text: `horizon=24`, `cell=gru`."""
    pairs: Json = {}
    for text in arguments:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{option} wants key=value, not {text!r}")
        pairs[key] = parse_value(value)
    return pairs


def in_lists(pairs: Json, structure: type) -> Json:
    """Parameters of a structure of msgspec, a single value as a list of one where the field takes a list."""
    described = msgspec.inspect.type_info(structure)
    known = described.fields if isinstance(described, msgspec.inspect.StructType) else ()
    listed = {field.encode_name for field in known if _is_list(field.type)}
    return {
        name: [value] if name in listed and not isinstance(value, list | None) else value
        for name, value in pairs.items()
    }


def _is_list(described: msgspec.inspect.Type) -> bool:
    """Whether a type is a list, or a list or null."""
    kinds = value_kinds(described)
    return bool(kinds) and all(isinstance(one, msgspec.inspect.ListType) for one in kinds)


def parse_columns(text: str | None) -> dict[str, str]:
    """Parse `ds=date,y=temp_max`: canonical name -> column in the file."""
    pairs = parse_pairs(text.split(",") if text else [], "--columns")
    return {name: str(column) for name, column in pairs.items()}


def parse_value(text: str) -> Any:
    """The value of a JSON text; of any other text, the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_body(text: str) -> Json:
    """The body of a prediction request, from a JSON body, a JSON list of instances, or JSON Lines of them."""
    try:
        value = json.loads(text)
    except ValueError:
        return {"instances": _parse_lines(text)}
    if isinstance(value, list):
        return {"instances": value}
    return value if isinstance(value, dict) and "instances" in value else {"instances": [value]}


def _parse_lines(text: str) -> list[Any]:
    instances = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                instances.append(json.loads(line))
            except ValueError as error:
                raise InvalidInput(f"line {number} is not JSON: {error}") from None
    if not instances:
        raise InvalidInput("the file has no instances")
    return instances


def unusable(error: DatasetInvalid) -> InvalidInput:
    """The error of a command for a file that cannot be used, with each fault on a line."""
    lines = [error.message, *(f"  {problem.pointer}: {problem.detail}" for problem in error.problems)]
    return InvalidInput("\n".join(lines))
