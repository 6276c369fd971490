"""`recurra predict`: instances from a file, predictions as JSON Lines."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import DEFAULT_URL, AsJson, Url, dump, server
from app.cli.instances import from_csv
from app.cli.values import STDIN, body, columns, pairs, read_text
from app.client import Json


def predict(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    file: Annotated[
        Path,
        typer.Argument(help="JSON Lines of instances, a JSON body, or a long CSV of series; - is stdin."),
    ],
    *,
    version: Annotated[int | None, typer.Option(min=1, help="A version's number.")] = None,
    alias: Annotated[str | None, typer.Option(help="An alias; production if nothing is named.")] = None,
    parameter: Annotated[list[str], typer.Option(help="Such as horizon=12 or top_k=3.")] = [],  # noqa: B006
    columns_: Annotated[
        str | None, typer.Option("--columns", help="Columns of a CSV: ds=date,y=temp_max")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Predict each instance of a file; one prediction a line, in order."""
    if version is not None and alias is not None:
        raise typer.BadParameter("name a version or an alias, not both")
    if file != STDIN and not file.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    is_table = file.suffix.lower() == ".csv"
    asked: Json = {"instances": from_csv(file, columns(columns_))} if is_table else body(read_text(file))
    parameters = {**asked.get("parameters", {}), **pairs(parameter, "--parameter")}
    named = {"version": version, "alias": alias}
    which = {name: value for name, value in named.items() if value is not None}
    with server(url, as_json=as_json) as client:
        answer = client.predict(model, asked["instances"], parameters, **which)
    if as_json:
        dump(answer)
        return
    for prediction in answer["predictions"]:
        sys.stdout.write(json.dumps(prediction, ensure_ascii=False) + "\n")
