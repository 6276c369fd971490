"""`recurra sweep`: which network suits the data is found out by trying."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.client import Client
from app.cli.commands.train import upload
from app.cli.console import DEFAULT_URL, AsJson, Url, dump, notes, server
from app.cli.spaces import searched
from app.cli.values import columns, pairs
from app.cli.watch import until_done
from app.typedefs import Json

Pairs = list[str]
Source = Annotated[str, typer.Argument(help="The data set: a file, or ds_… of one that is uploaded.")]
Search = Annotated[
    Pairs,
    typer.Option(
        help="Such as network.cell=rnn,lstm,gru, network.layers=1..3, training.learning_rate=0.001..0.1:log."
    ),
]
Prune = Annotated[bool | None, typer.Option(help="Give up what falls behind the median.")]
Parallel = Annotated[int | None, typer.Option(min=1, help="Runs at once.")]
Seconds = Annotated[float | None, typer.Option(help="Then the best so far is the result.")]
Format = Annotated[str | None, typer.Option("--format", help="If the file's ending does not say.")]
Columns = Annotated[str | None, typer.Option("--columns", help="Columns of other names: ds=date,y=temp_max")]


def sweep(
    source: Source,
    *,
    task: Annotated[str, typer.Option(help="forecasting, classification, tagging, …")],
    model: Annotated[str, typer.Option(help="Name of the model the best version is added to.")],
    search: Search,
    metric: Annotated[
        str | None, typer.Option(help="Of validation data: valid_loss, accuracy, bleu, …")
    ] = None,
    sampler: Annotated[str | None, typer.Option(help="grid, random or tpe.")] = None,
    max_trials: Annotated[int | None, typer.Option(min=1, help="How many settings are tried.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each.")] = None,
    prune: Prune = None,
    max_parallel: Parallel = None,
    max_seconds: Seconds = None,
    option: Annotated[Pairs, typer.Option(help="Of the task, such as horizon=24.")] = [],  # noqa: B006
    network: Annotated[Pairs, typer.Option(help="Of every trial.")] = [],  # noqa: B006
    training: Annotated[Pairs, typer.Option(help="Of every trial, such as epochs=5.")] = [],  # noqa: B006
    metadata: Annotated[Pairs, typer.Option(help="Kept with the job, such as team=ops.")] = [],  # noqa: B006
    columns_: Columns = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    format_: Format = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and return.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Train a network for each setting of a search, over several seeds; the best becomes the version."""
    fields = {"name": name, "format": format_, "columns": json.dumps(columns(columns_)) if columns_ else None}
    how = {
        "metric": metric, "sampler": sampler, "max_trials": max_trials, "seeds": seeds, "prune": prune,
        "max_parallel": max_parallel, "max_seconds": max_seconds,
    }  # fmt: skip
    asked = {"task": task, "model": model, "search": searched(search), **_given(how)}
    asked |= {"network": pairs(network, "--network"), "training": pairs(training, "--training")}
    asked |= {"options": pairs(option, "--option"), "metadata": pairs(metadata, "--metadata")}
    with server(url, as_json=as_json) as client:
        _submit(
            client,
            {**asked, "dataset": _dataset(client, source, task, _given(fields))},
            detach=detach,
            as_json=as_json,
        )


def _given(named: Json) -> Json:
    return {key: value for key, value in named.items() if value is not None}


def _dataset(client: Client, source: str, task: str, fields: dict[str, str]) -> str:
    """The id of the data set, which a file gets by its upload."""
    if Path(source).is_file():
        return str(upload(client, Path(source), task, fields)["id"])
    if not source.startswith("ds_"):
        raise typer.BadParameter(f"{source} is neither a file nor a data set's id")
    if fields:
        raise typer.BadParameter("--name, --format and --columns are for a file that is uploaded")
    return source


def _submit(client: Client, asked: Json, *, detach: bool, as_json: bool) -> None:
    submitted = client.sweep(asked)
    if detach:
        notes().print(f"Queued; watch it with: recurra jobs watch {submitted['id']}")
        dump(submitted) if as_json else typer.echo(submitted["id"])
    elif not until_done(client, submitted, as_json=as_json):
        raise typer.Exit(1)
