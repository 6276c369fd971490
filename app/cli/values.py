"""`key=value` arguments and prediction files, as JSON."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from app.errors import DatasetInvalid
from app.typedefs import Json

STDIN = Path("-")


def pairs(given: Iterable[str], option: str) -> Json:
    """Read `key=value` arguments; a value is JSON where it parses, else text: `horizon=24`, `cell=gru`."""
    found: Json = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{option} wants key=value, not {text!r}")
        found[key] = parse(value)
    return found


def columns(text: str | None) -> dict[str, str]:
    """Read `ds=date,y=temp_max`: canonical name -> column in the file."""
    found = pairs((text or "").split(",") if text else [], "--columns")
    return {name: str(column) for name, column in found.items()}


def parse(text: str) -> Any:
    """A JSON value, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def body(text: str) -> Json:
    """Instances and parameters from a JSON body, a JSON list of instances, or JSON Lines of instances."""
    try:
        whole = json.loads(text)
    except ValueError:
        return {"instances": _lines(text)}
    if isinstance(whole, list):
        return {"instances": whole}
    return whole if isinstance(whole, dict) and "instances" in whole else {"instances": [whole]}


def _lines(text: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise typer.BadParameter(f"line {number} is not JSON: {error}") from None
    if not found:
        raise typer.BadParameter("the file has no instances")
    return found


def read_text(path: Path) -> str:
    """A file as UTF-8 text; `-` is stdin."""
    try:
        return sys.stdin.read() if path == STDIN else path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path} is not UTF-8 text: {error}") from None


def refused(error: DatasetInvalid) -> typer.BadParameter:
    """A file that cannot be used as wrong usage, each fault on a line."""
    lines = [error.message, *(f"  {problem.pointer}: {problem.detail}" for problem in error.problems)]
    return typer.BadParameter("\n".join(lines))
