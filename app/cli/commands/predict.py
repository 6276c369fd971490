"""`recurra predict`: instances from a file or the command line, predictions as JSON Lines or as they come."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.client import Client
from app.cli.console import DEFAULT_URL, AsJson, Url, dump, server
from app.cli.examples import read
from app.cli.values import STDIN, columns, pairs
from app.typedefs import Json

FILES = "JSON Lines of instances, a JSON body, a data set of the task (labels are left out); - is stdin."


def predict(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    file: Annotated[Path | None, typer.Argument(help=FILES)] = None,
    *,
    text: Annotated[str | None, typer.Option(help="One text instead of a file.")] = None,
    prompt: Annotated[str | None, typer.Option(help="One prompt instead of a file.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print the text as it is found.")] = False,
    version: Annotated[int | None, typer.Option(min=1, help="A version's number.")] = None,
    alias: Annotated[str | None, typer.Option(help="An alias; production if nothing is named.")] = None,
    parameter: Annotated[list[str], typer.Option(help="Such as horizon=12 or top_k=3.")] = [],  # noqa: B006
    columns_: Annotated[
        str | None, typer.Option("--columns", help="Columns of a table: ds=date,y=temp_max")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Predict each instance of a file, or one text; one prediction a line, in order."""
    if version is not None and alias is not None:
        raise typer.BadParameter("name a version or an alias, not both")
    if sum(given is not None for given in (file, text, prompt)) != 1:
        raise typer.BadParameter("give a file, --text or --prompt, and only one of them")
    if file is not None and file != STDIN and not file.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    given = pairs(parameter, "--parameter")
    which = {name: value for name, value in (("version", version), ("alias", alias)) if value is not None}
    with server(url, as_json=as_json) as client:
        asked = one(text, prompt) if file is None else read(file, client.task_of(model), columns(columns_))
        parameters = {**asked.get("parameters", {}), **given}
        if stream:
            told(client, model, asked["instances"], parameters, which, as_json=as_json)
            return
        answer = client.predict(model, asked["instances"], parameters, **which)
    if as_json:
        dump(answer)
        return
    for prediction in answer["predictions"]:
        sys.stdout.write(json.dumps(prediction, ensure_ascii=False) + "\n")


def one(text: str | None, prompt: str | None) -> Json:
    """A body with a single instance."""
    return {"instances": [{"text": text} if prompt is None else {"prompt": prompt}]}


def told(
    client: Client, model: str, instances: list[Any], parameters: Json, which: Json, *, as_json: bool
) -> None:
    """Print the text of one instance as it is found, or each event as a line of JSON."""
    if len(instances) != 1:
        raise typer.BadParameter(f"--stream takes one instance, not {len(instances)}")
    for event in client.stream(model, instances[0], parameters, **which):
        sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n" if as_json else event["text"])
        sys.stdout.flush()
    if not as_json:
        sys.stdout.write("\n")
