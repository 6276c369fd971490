"""`recurra train`: upload, submit, watch."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from app.cli.console import DEFAULT_URL, ApiKey, AsJson, Url, connect, notes, print_json
from app.cli.values import parse_columns, parse_pairs
from app.cli.watch import until_done
from app.tasks import TASKS
from app.typedefs import Json
from app.validation.names import unknown_name
from recurra import Client

Source = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The data set.")]
Pairs = list[str]
Columns = Annotated[str | None, typer.Option("--columns", help="Columns of other names: ds=date,y=temp_max")]


def train(
    file: Source,
    *,
    task: Annotated[str, typer.Option(help=f"One of {', '.join(sorted(TASKS))}.")],
    model: Annotated[str, typer.Option(help="Name of the model the version is added to.")],
    option: Annotated[Pairs, typer.Option(help="Of the task, such as horizon=24.")] = [],  # noqa: B006
    network: Annotated[Pairs, typer.Option(help="Such as cell=gru or hidden_size=64.")] = [],  # noqa: B006
    training: Annotated[Pairs, typer.Option(help="Such as epochs=5 or seed=7.")] = [],  # noqa: B006
    metadata: Annotated[Pairs, typer.Option(help="Kept with the job, such as team=ops.")] = [],  # noqa: B006
    columns_: Columns = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="If the file's ending does not say.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and return.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file, train a network on it, and compare it with the baseline."""
    check_task(task)
    fields = {
        "name": name,
        "format": format_,
        "columns": json.dumps(parse_columns(columns_)) if columns_ else None,
    }
    request: Json = {
        "task": task, "model": model,
        "network": parse_pairs(network, "--network"), "training": parse_pairs(training, "--training"),
        "options": parse_pairs(option, "--option"), "metadata": parse_pairs(metadata, "--metadata"),
    }  # fmt: skip
    with connect(url, api_key, as_json=as_json) as client:
        dataset = upload(client, file, task, {key: value for key, value in fields.items() if value})
        job = client.submit({**request, "dataset": dataset["id"]})
        if detach:
            notes().print(f"Queued; watch it with: recurra jobs watch {job['id']}")
            print_json(job) if as_json else typer.echo(job["id"])
        elif not until_done(client, job, as_json=as_json):
            raise typer.Exit(1)


def check_task(name: str) -> None:
    """Raise `BadParameter` for a task that there is not."""
    if name not in TASKS:
        raise typer.BadParameter(unknown_name("task", name, sorted(TASKS)), param_hint="--task")


def upload(client: Client, file: Path, task: str, fields: dict[str, str]) -> Json:
    """Upload with a progress bar, and print the server's warnings about the file."""
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


def resolve_dataset(client: Client, source: str, task: str, fields: dict[str, str]) -> str:
    """The id of the data set; a file is uploaded."""
    if Path(source).is_file():
        return str(upload(client, Path(source), task, fields)["id"])
    if not source.startswith("ds_"):
        raise typer.BadParameter(f"{source} is neither a file nor a data set's id")
    if fields:
        raise typer.BadParameter("--name, --format and --columns are for a file that is uploaded")
    return source
