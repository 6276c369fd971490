"""`recurra explain`: which steps of an instance its prediction depended on, as a table, JSON or SVG."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import DEFAULT_URL, ApiKey, AsJson, Url, connect, notes, print_json, print_table
from app.cli.instances import read_instances, trained_columns
from app.cli.values import STDIN, parse_body, parse_columns, parse_pairs
from app.prediction.explanation_request import GRADIENT, INTEGRATED_GRADIENTS
from app.typedefs import Json
from recurra import Client

MAX_ROWS = 20  # of the table: the steps with most influence
BAR_CHARS = 24
INSTANCE = "A file as of `recurra predict`, - for stdin, or the JSON of an instance or of a whole request."
INDEX = "Which instance of the file, from 0 up."


def explain(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    instance: Annotated[str, typer.Argument(help=INSTANCE)],
    *,
    index: Annotated[int | None, typer.Option(min=0, help=INDEX)] = None,
    integrated: Annotated[bool, typer.Option("--integrated", help="Integrated gradients.")] = False,
    version: Annotated[int | None, typer.Option(min=1, help="A version's number.")] = None,
    alias: Annotated[str | None, typer.Option(help="An alias; production if nothing is named.")] = None,
    parameter: Annotated[list[str], typer.Option(help="Such as horizon=12 or seed=3.")] = [],  # noqa: B006
    columns_: Annotated[
        str | None, typer.Option("--columns", help="Columns of a table: ds=date,y=temp_max")
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Where to write a picture.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Explain one prediction: which steps of its input it depended on."""
    if version is not None and alias is not None:
        raise typer.BadParameter("name a version or an alias, not both")
    overrides = parse_pairs(parameter, "--parameter")
    which = {name: value for name, value in (("version", version), ("alias", alias)) if value is not None}
    with connect(url, api_key, as_json=as_json) as client:
        body = _pick(_read(client, model, instance, columns_, which), index)
        body["parameters"] = {**body.get("parameters", {}), **overrides}
        body["method"] = INTEGRATED_GRADIENTS if integrated else body.get("method", GRADIENT)
        if svg is not None:
            _write(svg, client.explanation_svg(model, body, **which))
            return
        answer = client.explain(model, body, **which)
    if as_json:
        print_json(answer)
    else:
        _print(answer)


def _read(client: Client, model: str, instance: str, columns: str | None, which: Json) -> Json:
    """The body of a request, from JSON or from a file."""
    if instance.lstrip().startswith("{"):
        return parse_body(instance)
    path = Path(instance)
    if path != STDIN and not path.is_file():
        raise typer.BadParameter(f"there is no file {path}; JSON begins with {{")
    trained = partial(trained_columns, client, model, which)
    return read_instances(path, client.task_of(model), parse_columns(columns), trained)


def _pick(body: Json, index: int | None) -> Json:
    """The body with the one instance that is explained."""
    count = len(body["instances"])
    if index is None and count != 1:
        raise typer.BadParameter(f"there are {count} instances: name one by --index")
    if index is not None and index >= count:
        raise typer.BadParameter(f"--index is less than {count}, the number of instances")
    return {**body, "instances": [body["instances"][index or 0]]}


def _write(path: Path, picture: bytes) -> None:
    try:
        count = path.write_bytes(picture)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}") from None
    notes().print(f"{path}: {count:,} bytes", soft_wrap=True)


def _print(answer: Json) -> None:
    """Print the steps with most influence, in their order."""
    shares: list[float] = answer["influence"]
    first = sorted(range(len(shares)), key=lambda step: (-shares[step], step))[:MAX_ROWS]
    largest = max(shares)
    print_table(
        ["#", "step", "influence#", ""],
        [
            (step + 1, answer["steps"][step], shares[step], "█" * round(BAR_CHARS * shares[step] / largest))
            for step in sorted(first)
        ],
        title=f"{answer['model']} version {answer['version']}: {answer['memory_length']} of {len(shares)} "
        "steps hold nine tenths of the influence",
    )
