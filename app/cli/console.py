"""What the commands show: people read stderr and tables, programs read JSON on stdout."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.cli.client import Client, ClientError, NoServer, Refused
from app.typedefs import Json

Url = Annotated[str, typer.Option("--url", envvar="RECURRA_URL", help="The server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
DEFAULT_URL = "http://127.0.0.1:8000"


def output() -> Console:
    """Where results go; a pipe has no width to fit into."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 250)


def notes() -> Console:
    """Where everything that is not the result goes."""
    return Console(stderr=True, highlight=False)


def dump(value: object) -> None:
    """Print JSON on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def server(url: str, *, as_json: bool = False) -> Iterator[Client]:
    """A client; what the server refuses is shown, and the command exits with 1."""
    with Client(url) as client:
        try:
            yield client
        except ClientError as error:
            explain(error, as_json=as_json)
            raise typer.Exit(1) from error


def explain(error: ClientError, *, as_json: bool = False) -> None:
    """Say what went wrong, each pointer on a line; as JSON the problem document itself."""
    if isinstance(error, Refused):
        if as_json:
            dump(error.problem)
        lines = [f"{error} ({error.problem.get('status')})"]
        lines += [f"  {e.get('pointer')}: {e.get('detail')}" for e in error.problem.get("errors") or []]
    elif isinstance(error, NoServer):
        lines = [f"There is no server at {error}: start one with `recurra up`"]
    else:
        lines = [str(error)]
    if as_json and not isinstance(error, Refused):
        dump({"title": "No answer", "status": 0, "detail": lines[0], "errors": []})
    notes().print("\n".join(lines), style="red", markup=False, soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print a table; a column whose name ends with `#` is of numbers."""
    drawn = Table(title=title, box=None, header_style="bold", title_justify="left", pad_edge=False)
    for name in columns:
        drawn.add_column(name.rstrip("#"), justify="right" if name.endswith("#") else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(number(cell) for cell in row))
    output().print(drawn)


def number(value: object) -> str:
    """A cell: numbers to four significant digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def comparison(version: Json, against: str = "baseline") -> None:
    """Print a version's figures beside those of the obvious non-neural answer; tables are left out."""
    metrics, baseline = version["metrics"], version["baseline"]
    plain = [name for name, value in metrics.items() if isinstance(value, int | float)]
    names = [name for name in plain if name in baseline] or plain
    table(
        ["held-out data", "network#", f"{against}#"],
        [(name, metrics[name], baseline.get(name)) for name in names],
        title=f"{version['model']} version {version['version']} ({version['network'].get('cell', '')})",
    )
