"""`recurra batch`: predict a whole data set as a job, and fetch the result."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import DEFAULT_URL, ApiKey, AsJson, Url, connect, notes, print_json
from app.cli.values import parse_pairs
from app.cli.watch import until_done


def batch(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    dataset: Annotated[str, typer.Argument(help="The data set, ds_…")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", dir_okay=False, help="Where to save the result.")
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="A version's number.")] = None,
    alias: Annotated[str | None, typer.Option(help="An alias; production if nothing is named.")] = None,
    parameter: Annotated[list[str], typer.Option(help="Such as horizon=12 or top_k=3.")] = [],  # noqa: B006
    detach: Annotated[bool, typer.Option("--detach", help="Submit and return.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Predict every example of a data set; the result is JSON Lines, one prediction a line, in order."""
    if version is not None and alias is not None:
        raise typer.BadParameter("name a version or an alias, not both")
    if detach and output is not None:
        raise typer.BadParameter("--detach returns before there is a result to save")
    which = {name: value for name, value in (("version", version), ("alias", alias)) if value is not None}
    with connect(url, api_key, as_json=as_json) as client:
        job = client.batch(model, dataset, parse_pairs(parameter, "--parameter"), **which)
        if detach:
            notes().print(f"Queued; watch it with: recurra jobs watch {job['id']}")
            print_json(job) if as_json else typer.echo(job["id"])
            return
        if not until_done(client, job, as_json=as_json):
            raise typer.Exit(1)
        if output is None or client.get(f"/v1/jobs/{job['id']}")["status"] != "succeeded":  # after Ctrl-C
            notes().print(f"The result: {client.url}/v1/jobs/{job['id']}/result", soft_wrap=True)
            return
        count = client.result(job["id"], output)
        notes().print(f"{output}: {count:,} bytes", soft_wrap=True)
