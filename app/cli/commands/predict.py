"""`recurra predict`: instances from a file or the command line, predictions as JSON Lines or streamed."""

import json
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.console import DEFAULT_URL, ApiKey, AsJson, Url, connect, print_json
from app.cli.instances import read_instances, trained_columns
from app.cli.output_file import output_writer
from app.cli.values import STDIN, in_lists, parse_columns, parse_pairs
from app.tasks import TASKS
from app.tasks.contract import may_be_empty
from app.typedefs import Json
from recurra import Client, RequestRefused

FILES = (
    "JSON Lines of instances, a JSON body, a data set of the task (labels are left out), or a recording, "
    "clip or MIDI file where the task takes one; - is stdin. Music needs none."
)
ONE_INPUT = "give a file, --text or --prompt, and only one of them"
OUTPUT = "Where to write the file in the prediction, such as music."


def predict(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    file: Annotated[Path | None, typer.Argument(help=FILES)] = None,
    *,
    text: Annotated[str | None, typer.Option(help="One text instead of a file.")] = None,
    prompt: Annotated[str | None, typer.Option(help="One prompt instead of a file.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print the text while it is generated.")] = False,
    version: Annotated[int | None, typer.Option(min=1, help="A version's number.")] = None,
    alias: Annotated[str | None, typer.Option(help="An alias; production if nothing is named.")] = None,
    parameter: Annotated[list[str], typer.Option(help="Such as horizon=12 or top_k=3.")] = [],  # noqa: B006
    columns_: Annotated[
        str | None, typer.Option("--columns", help="Columns of a table: ds=date,y=temp_max")
    ] = None,
    output: Annotated[Path | None, typer.Option(help=OUTPUT)] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Predict each instance of a file, or one text; one prediction a line, in order."""
    which = choose_version(version, alias)
    if sum(value is not None for value in (file, text, prompt)) > 1:
        raise typer.BadParameter(ONE_INPUT)
    if file is not None and file != STDIN and not file.is_file():
        raise typer.BadParameter(f"there is no file {file}; for one text, use --text")
    overrides = parse_pairs(parameter, "--parameter")
    with connect(url, api_key, as_json=as_json) as client:
        task_of = cache(lambda: client.task_of(model))
        save = output_writer(output, task_of)
        trained = partial(trained_columns, client, model, which)
        if file is None:
            body = single_instance(text, prompt, task_of)
        else:
            body = read_instances(file, task_of(), parse_columns(columns_), trained)
        parameters = {**body.get("parameters", {}), **as_parameters(overrides, task_of)}
        if stream:
            answer = print_stream(client, model, body["instances"], parameters, which, as_json=as_json)
            save(answer["predictions"])
            return
        answer = client.predict(model, body["instances"], parameters, **which)
    answer["predictions"] = save(answer["predictions"])
    if as_json:
        print_json(answer)
        return
    for prediction in answer["predictions"] if output is None else ():
        sys.stdout.write(json.dumps(prediction, ensure_ascii=False) + "\n")


def choose_version(version: int | None, alias: str | None) -> Json:
    """The query of what is named; raises `BadParameter` if that is both."""
    if version is not None and alias is not None:
        raise typer.BadParameter("name a version or an alias, not both")
    return {name: value for name, value in (("version", version), ("alias", alias)) if value is not None}


def as_parameters(pairs: Json, task_of: Callable[[], str]) -> Json:
    """Parameters of the command line as the task has them: one value is a list where it takes a list."""
    try:
        task = TASKS.get(task_of()) if pairs else None
    except RequestRefused:
        return pairs  # the prediction is refused for the same reason
    return pairs if task is None else in_lists(pairs, task.parameters)


def single_instance(text: str | None, prompt: str | None, task_of: Callable[[], str]) -> Json:
    """The body of a prediction request with one text or prompt, or with nothing where nothing is needed."""
    if text is None and prompt is None:
        task = TASKS.get(task_of())
        if task is None or not may_be_empty(task.tensor_inputs):
            raise typer.BadParameter(ONE_INPUT)
        return {"instances": [{}]}
    return {"instances": [{"text": text} if prompt is None else {"prompt": prompt}]}


def print_stream(
    client: Client, model: str, instances: list[Any], parameters: Json, which: Json, *, as_json: bool
) -> Json:
    """Print the text of one instance while it is generated, or each event as a line of JSON.

    Returns the whole answer.
    """
    if len(instances) != 1:
        raise typer.BadParameter(f"--stream takes one instance, not {len(instances)}")
    ends_line, answer = False, Json()
    for piece in client.stream(model, instances[0], parameters, **which):
        if "predictions" in piece:
            answer = piece
            break
        sys.stdout.write(json.dumps(piece, ensure_ascii=False) + "\n" if as_json else piece["text"])
        sys.stdout.flush()
        ends_line = piece["text"].endswith("\n")
    if not as_json and not ends_line:
        sys.stdout.write("\n")
    return answer
