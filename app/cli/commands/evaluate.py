"""`recurra evaluate`: compare versions of a model, and baselines, on a data set that has the answers."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.commands.train import Columns, Pairs, resolve_dataset
from app.cli.console import DEFAULT_URL, ApiKey, AsJson, Url, connect, notes, print_json
from app.cli.values import parse_columns, parse_pairs
from app.cli.watch import until_done
from app.typedefs import Json

Numbers = Annotated[
    str | None, typer.Option("--versions", help="Such as 3,4; the one in production if nothing is named.")
]
Baselines = Annotated[list[str], typer.Option("--baseline", help="Another one, such as theta or ets.")]


def evaluate(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    source: Annotated[str, typer.Argument(help="The data set: a file, or ds_… of one that is uploaded.")],
    *,
    versions: Numbers = None,
    windows: Annotated[int | None, typer.Option(min=1, help="Of forecasts: how many origins.")] = None,
    step: Annotated[int | None, typer.Option(min=1, help="Steps from one origin to the next.")] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Train anew before each window.")] = False,
    baseline: Baselines = [],  # noqa: B006
    parameter: Annotated[Pairs, typer.Option(help="Such as horizon=12.")] = [],  # noqa: B006
    columns_: Columns = None,
    output: Annotated[
        Path | None, typer.Option("--output", dir_okay=False, help="Where to save the result's lines.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and return.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Compare versions and baselines on a data set: metrics with intervals, and paired differences."""
    if detach and output is not None:
        raise typer.BadParameter("--detach returns before there is a result to save")
    fields = {"columns": json.dumps(parse_columns(columns_))} if columns_ else {}
    request = _without_none({"versions": _numbers(versions), "windows": windows, "step": step})
    request |= {"refit": True} if refit else {}
    request |= {"baselines": baseline, "parameters": parse_pairs(parameter, "--parameter")}
    with connect(url, api_key, as_json=as_json) as client:
        task = str(client.get(f"/v1/models/{model}")["task"])
        request["dataset"] = resolve_dataset(client, source, task, fields)
        job = client.evaluate(model, request)
        if detach:
            notes().print(f"Queued; watch it with: recurra jobs watch {job['id']}")
            print_json(job) if as_json else typer.echo(job["id"])
            return
        if not until_done(client, job, as_json=as_json):
            raise typer.Exit(1)
        if output is not None and client.get(f"/v1/jobs/{job['id']}")["status"] == "succeeded":
            count = client.result(job["id"], output)
            notes().print(f"{output}: {count:,} bytes", soft_wrap=True)


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"{text} is no list of version numbers, such as 3,4")
    return [int(part) for part in parts]


def _without_none(values: Json) -> Json:
    return {key: value for key, value in values.items() if value is not None}
