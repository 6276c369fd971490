"""Output of the commands: tables and messages for people, JSON on stdout for programs."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from app.cli.table import format_table
from app.typedefs import Json
from recurra import Client, RecurraError, RequestRefused

Url = Annotated[str, typer.Option("--url", envvar="RECURRA_URL", help="The server.")]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="RECURRA_API_KEY", help="The key, where the server needs one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
DEFAULT_URL = "http://127.0.0.1:8000"


def output() -> Console:
    """The console of results, on stdout; a pipe has no width, so that lines are not broken."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 250
    return Console(highlight=False, width=width)


def notes() -> Console:
    """The console of everything but results, on stderr."""
    return Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """Print JSON on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def connect(url: str, api_key: str | None, *, as_json: bool = False) -> Iterator[Client]:
    """A client for the server; an error is printed, and the command exits with 1."""
    with Client(url, api_key=api_key) as client:
        try:
            yield client
        except RecurraError as error:
            print_error(error, as_json=as_json)
            raise typer.Exit(1) from error


def print_error(error: RecurraError, *, as_json: bool = False) -> None:
    """Print what went wrong, each problem on a line; as JSON, the problem document itself."""
    if isinstance(error, RequestRefused) and as_json:
        print_json(error.problem)
    message = str(error)
    if as_json and not isinstance(error, RequestRefused):
        print_json({"title": "No answer", "status": 0, "detail": message, "errors": []})
    notes().print(message, style="red", markup=False, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print a table that fits the terminal; a column of numbers has a name that ends with `#`.

    In a pipe a row is one line, unless COLUMNS says how wide it may be.
    """
    console = output()
    width = console.width if sys.stdout.isatty() or "COLUMNS" in os.environ else None
    header, *lines = format_table(columns, [[format_cell(cell) for cell in row] for row in rows], width)
    if title is not None:
        console.print(title, style="italic", markup=False)
    console.print(header, style="bold", markup=False, soft_wrap=True)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def format_cell(value: object) -> str:
    """The text of a cell: numbers to four significant digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def age(moment: str) -> str:
    """The time since an RFC 3339 moment in one unit: `12 s`, `3 min`, `5 h`, `40 d`."""
    seconds = max(0, int(time.time() - datetime.fromisoformat(moment).timestamp()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def print_comparison(version: Json, against: str = "baseline") -> None:
    """Print a version's metrics beside the baseline's; metrics that are tables are left out."""
    metrics, baseline = version["metrics"], version["baseline"]
    numbers = [name for name, value in metrics.items() if isinstance(value, int | float)]
    names = [name for name in numbers if name in baseline] or numbers
    print_table(
        ["held-out data", "network#", f"{against}#"],
        [(name, metrics[name], baseline.get(name)) for name in names],
        title=f"{version['model']} version {version['version']} ({version['network'].get('cell', '')})",
    )
