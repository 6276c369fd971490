"""`recurra models …`."""

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import (
    DEFAULT_URL,
    ApiKey,
    AsJson,
    Url,
    age,
    connect,
    output,
    print_comparison,
    print_json,
    print_table,
)
from app.cli.installation import DataDir
from app.cli.values import parse_pairs
from app.database.projects import DEFAULT_PROJECT
from app.patterns import MODEL_NAME_PATTERN, PATTERNS_IN_WORDS
from app.typedefs import Json

app = typer.Typer(
    help="Trained models: list, show, promote, download, export, import, delete.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

EXCHANGE = "app.cli.exchange.transfer"  # the module, which imports much that the other commands do not need
Name = Annotated[str, typer.Argument(help="Name of the model.")]
Number = Annotated[int | None, typer.Option("--version", min=1, help="A version; the newest if not named.")]


@app.command("list")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List models with their aliases."""
    with connect(url, api_key, as_json=as_json) as client:
        entries = client.pages("/v1/models", limit)
    if as_json:
        print_json(entries)
        return
    rows = [
        (m["name"], m["task"], m["latest_version"], _aliases(m["aliases"]), age(m["created_at"]))
        for m in entries
    ]
    print_table(["model", "task", "versions#", "aliases", "age#"], rows)


@app.command()
def show(
    name: Name,
    *,
    version: Number = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show a model's versions, and one version's metrics beside the baseline's."""
    with connect(url, api_key, as_json=as_json) as client:
        model = client.get(f"/v1/models/{name}")
        versions = client.pages(f"/v1/models/{name}/versions", 20)
        aliases = client.pages(f"/v1/models/{name}/aliases", 200)
        details = client.version(name, version) if version or model["latest_version"] else None
    if as_json:
        print_json({**model, "targets": aliases, "versions": versions, "version": details})
        return
    rows = [
        (v["version"], v["network"].get("cell"), v["parameters"], v["job"], age(v["created_at"]))
        for v in versions
    ]
    targets = "; ".join(f"{alias['alias']} = {_describe_target(alias)}" for alias in aliases)
    title = f"{name}: {model['task']}; {targets or 'no alias'}"
    print_table(["version#", "cell", "parameters#", "job", "age#"], rows, title=title)
    if details:
        output().print()
        print_comparison(details)


@app.command()
def promote(
    name: Name,
    version: Annotated[int | None, typer.Argument(min=1, help="The version that is to answer.")] = None,
    *,
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "production",
    split: Annotated[list[str] | None, typer.Option(help="A version's share of the calls: 4=0.1.")] = None,
    shadow: Annotated[int | None, typer.Option(min=1, help="A version to compute unseen.")] = None,
    guard: Annotated[
        str | None, typer.Option(help="An evaluation, job_…, that must not show it to be worse.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Of the guard, such as smape.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Point an alias at a version, or at several by shares, at once and without a failed request."""
    if (guard is None) != (metric is None):
        raise typer.BadParameter("--guard and --metric belong together")
    target = _target(version, split or (), shadow)
    if guard is not None:
        target["guard"] = {"evaluation": guard, "metric": metric}
    with connect(url, api_key, as_json=as_json) as client:
        moved = client.promote(name, alias, target)
    noun = "version" if len(moved["versions"]) == 1 else "versions"
    print_json(moved) if as_json else output().print(f"{name} {alias} is {noun} {_describe_target(moved)}")


@app.command()
def download(
    name: Name,
    *,
    version: Number = None,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Save a version's manifest, weights and ONNX graph as a zip file."""
    with connect(url, api_key, as_json=as_json) as client:
        number = int(client.version(name, version)["version"])
        target = to or Path(f"{name}-{number}.zip")
        size = client.download(name, number, target)
    result = {"model": name, "version": number, "path": str(target), "bytes": size}
    print_json(result) if as_json else output().print(f"{target} ({size:,} bytes)")


@app.command()
def export(
    name: Name,
    number: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="The version.")],
    directory: Annotated[Path, typer.Argument(help="Where to write it: a new directory, or an empty one.")],
    *,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="As a model of MLflow.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Write a version into a directory, to import it elsewhere, or as a model of MLflow."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise typer.BadParameter(f"{directory} is not empty")
    with connect(url, api_key, as_json=as_json) as client:
        import_module(EXCHANGE).export_version(client, name, number, directory, as_mlflow=mlflow)
    result = {"model": name, "version": number, "path": str(directory)}
    print_json(result) if as_json else output().print(f"{directory} has {name} {number}", soft_wrap=True)


@app.command("import")
def import_(
    directory: Annotated[Path, typer.Argument(help="A version that was exported.", exists=True)],
    *,
    model: Annotated[str, typer.Option(help="The model whose next version it becomes.")],
    project: Annotated[str, typer.Option(help="The project of the model.")] = DEFAULT_PROJECT,
    as_json: AsJson = False,
    data_dir: DataDir = Path(".recurra"),
) -> None:
    """Publish an exported version in this installation, on its machine; its files are checked before."""
    if not re.match(MODEL_NAME_PATTERN, model):
        raise typer.BadParameter(f"a model's name has {PATTERNS_IN_WORDS[MODEL_NAME_PATTERN]}")
    number = import_module(EXCHANGE).import_directory(directory, model, project, data_dir)
    result = {"model": model, "version": number, "project": project}
    print_json(result) if as_json else output().print(f"{model} {number} is there", soft_wrap=True)


@app.command()
def delete(
    name: Name,
    *,
    version: Annotated[int | None, typer.Option(min=1, help="A version that no alias names.")] = None,
    alias: Annotated[str | None, typer.Option(help="An alias.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Delete a version, an alias, or else a model that has no version left: its name is then free."""
    if version is not None and alias is not None:
        raise typer.BadParameter("name a version or an alias, not both")
    path, what = f"/v1/models/{name}", name
    if version is not None:
        path, what = f"{path}/versions/{version}", f"{name} version {version}"
    if alias is not None:
        path, what = f"{path}/aliases/{alias}", f"{name} {alias}"
    with connect(url, api_key, as_json=as_json) as client:
        client.send("DELETE", path)
    result = {"model": name, "version": version, "alias": alias, "deleted": True}
    print_json(result) if as_json else output().print(f"{what} is deleted")


def _aliases(aliases: dict[str, int]) -> str:
    return ", ".join(f"{alias} = {version}" for alias, version in sorted(aliases.items()))


def _describe_target(alias: Json) -> str:
    shares = alias["versions"]
    text = ", ".join(f"{version} ({share:.4g})" for version, share in shares.items())
    if len(shares) == 1:
        text = str(alias["version"])
    return text if alias["shadow"] is None else f"{text}, shadowed by {alias['shadow']}"


def _target(version: int | None, split: Sequence[str], shadow: int | None) -> Json:
    """The target of an alias; a version beside shares of others gets the remaining share."""
    shares = parse_pairs(split, "--split")
    if version is None and not shares:
        raise typer.BadParameter("name a version, or several with --split")
    if not all(isinstance(share, int | float) and 0 < share <= 1 for share in shares.values()):
        raise typer.BadParameter("--split wants a version and its share, such as 4=0.1")
    if version is not None and shares:
        shares.setdefault(str(version), round(1 - sum(shares.values()), 12))
    target: Json = {"versions": shares} if shares else {"version": version}
    return target if shadow is None else {**target, "shadow": shadow}
