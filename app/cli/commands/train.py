"""`recurra train`: upload, submit, watch."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from app.cli.client import Client
from app.cli.console import DEFAULT_URL, AsJson, Url, dump, notes, server
from app.cli.values import columns, pairs
from app.cli.watch import until_done
from app.typedefs import Json

Source = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The data set.")]
Pairs = list[str]


def train(
    file: Source,
    *,
    task: Annotated[str, typer.Option(help="forecasting, classification, tagging, …")],
    model: Annotated[str, typer.Option(help="Name of the model the version is added to.")],
    option: Annotated[Pairs, typer.Option(help="Of the task, such as horizon=24.")] = [],  # noqa: B006
    network: Annotated[Pairs, typer.Option(help="Such as cell=gru or hidden_size=64.")] = [],  # noqa: B006
    training: Annotated[Pairs, typer.Option(help="Such as epochs=5 or seed=7.")] = [],  # noqa: B006
    metadata: Annotated[Pairs, typer.Option(help="Kept with the job, such as team=ops.")] = [],  # noqa: B006
    columns_: Annotated[
        str | None, typer.Option("--columns", help="Columns of other names: ds=date,y=temp_max")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="If the file's ending does not say.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and return.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Upload a file, train a network on it, and compare it with the obvious answer."""
    fields = {"name": name, "format": format_, "columns": json.dumps(columns(columns_)) if columns_ else None}
    job: Json = {
        "task": task, "model": model,
        "network": pairs(network, "--network"), "training": pairs(training, "--training"),
        "options": pairs(option, "--option"), "metadata": pairs(metadata, "--metadata"),
    }  # fmt: skip
    with server(url, as_json=as_json) as client:
        dataset = upload(client, file, task, {key: value for key, value in fields.items() if value})
        submitted = client.submit({**job, "dataset": dataset["id"]})
        if detach:
            notes().print(f"Queued; watch it with: recurra jobs watch {submitted['id']}")
            dump(submitted) if as_json else typer.echo(submitted["id"])
        elif not until_done(client, submitted, as_json=as_json):
            raise typer.Exit(1)


def upload(client: Client, file: Path, task: str, fields: dict[str, str]) -> Json:
    """Upload with a progress bar, and pass on what the server says about the file."""
    console = notes()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        line = bar.add_task(f"upload {file.name}", total=file.stat().st_size)
        dataset = client.upload(file, task, lambda count: bar.advance(line, count), **fields)
    for warning in dataset.get("warnings", []):
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    return dataset
