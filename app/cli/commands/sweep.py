"""`recurra sweep`: search the best network and training options for a data set."""

import json
from typing import Annotated

import typer

from app.cli.commands.train import Columns, Pairs, check_task, resolve_dataset
from app.cli.console import DEFAULT_URL, ApiKey, AsJson, Url, connect, notes, print_json
from app.cli.search_space import parse_search
from app.cli.values import parse_columns, parse_pairs
from app.cli.watch import until_done
from app.tasks import TASKS
from app.typedefs import Json
from recurra import Client

Source = Annotated[str, typer.Argument(help="The data set: a file, or ds_… of one that is uploaded.")]
Search = Annotated[
    Pairs,
    typer.Option(
        help="Such as network.cell=rnn,lstm,gru, network.layers=1..3, training.learning_rate=0.001..0.1:log."
    ),
]
Prune = Annotated[bool | None, typer.Option(help="Stop trials that fall behind the median.")]
Parallel = Annotated[int | None, typer.Option(min=1, help="Runs at once.")]
Seconds = Annotated[float | None, typer.Option(help="After which the best trial so far is the result.")]
Format = Annotated[str | None, typer.Option("--format", help="If the file's ending does not say.")]


def sweep(
    source: Source,
    *,
    task: Annotated[str, typer.Option(help=f"One of {', '.join(sorted(TASKS))}.")],
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
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Train a network for each setting of a search, over several seeds; the best becomes the version."""
    check_task(task)
    fields = {
        "name": name,
        "format": format_,
        "columns": json.dumps(parse_columns(columns_)) if columns_ else None,
    }
    settings = {
        "metric": metric, "sampler": sampler, "max_trials": max_trials, "seeds": seeds, "prune": prune,
        "max_parallel": max_parallel, "max_seconds": max_seconds,
    }  # fmt: skip
    request = {"task": task, "model": model, "search": parse_search(search), **_without_none(settings)}
    request |= {"network": parse_pairs(network, "--network"), "training": parse_pairs(training, "--training")}
    request |= {"options": parse_pairs(option, "--option"), "metadata": parse_pairs(metadata, "--metadata")}
    with connect(url, api_key, as_json=as_json) as client:
        request["dataset"] = resolve_dataset(client, source, task, _without_none(fields))
        _submit(client, request, detach=detach, as_json=as_json)


def _without_none(values: Json) -> Json:
    return {key: value for key, value in values.items() if value is not None}


def _submit(client: Client, request: Json, *, detach: bool, as_json: bool) -> None:
    job = client.sweep(request)
    if detach:
        notes().print(f"Queued; watch it with: recurra jobs watch {job['id']}")
        print_json(job) if as_json else typer.echo(job["id"])
    elif not until_done(client, job, as_json=as_json):
        raise typer.Exit(1)
