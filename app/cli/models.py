"""`recurra models …`."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import DEFAULT_URL, AsJson, Url, comparison, dump, output, server, table

app = typer.Typer(help="Trained models: list, show, promote, download.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the model.")]
Number = Annotated[int | None, typer.Option("--version", min=1, help="A version; the newest if not named.")]


@app.command("list")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List models with their aliases."""
    with server(url, as_json=as_json) as client:
        found = client.pages("/v1/models", limit)
    if as_json:
        dump(found)
        return
    rows = [
        (m["name"], m["task"], m["latest_version"], _aliases(m["aliases"]), m["created_at"]) for m in found
    ]
    table(["model", "task", "versions#", "aliases", "created"], rows)


@app.command()
def show(name: Name, *, version: Number = None, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show a model's versions, and one version's metrics beside the baseline's."""
    with server(url, as_json=as_json) as client:
        model = client.get(f"/v1/models/{name}")
        versions = client.pages(f"/v1/models/{name}/versions", 20)
        chosen = client.version(name, version) if version or model["latest_version"] else None
    if as_json:
        dump({**model, "versions": versions, "version": chosen})
        return
    rows = [
        (v["version"], v["network"].get("cell"), v["parameters"], v["job"], v["created_at"]) for v in versions
    ]
    title = f"{name}: {model['task']}; {_aliases(model['aliases']) or 'no alias'}"
    table(["version#", "cell", "parameters#", "job", "created"], rows, title=title)
    if chosen:
        output().print()
        comparison(chosen)


@app.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="The version that shall answer.")],
    *,
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "production",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Point an alias at a version, at once and without a failed request."""
    with server(url, as_json=as_json) as client:
        moved = client.promote(name, version, alias)
    dump(moved) if as_json else output().print(f"{name} {alias} is version {version}")


@app.command()
def download(
    name: Name,
    *,
    version: Number = None,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Save a version's manifest, weights and ONNX graph as a zip file."""
    with server(url, as_json=as_json) as client:
        number = int(client.version(name, version)["version"])
        target = to or Path(f"{name}-{number}.zip")
        size = client.download(name, number, target)
    told = {"model": name, "version": number, "path": str(target), "bytes": size}
    dump(told) if as_json else output().print(f"{target} ({size:,} bytes)")


def _aliases(aliases: dict[str, int]) -> str:
    return ", ".join(f"{alias} = {version}" for alias, version in sorted(aliases.items()))
