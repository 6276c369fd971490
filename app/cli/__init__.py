"""The command line `recurra`. A command's module is imported only when the command is run."""

from importlib.metadata import version
from typing import Annotated

import typer

from app.cli.lazy_group import LazyCommand, LazyGroup

# The summaries are the first lines of the commands' own helps.
MEMBERS = (
    LazyCommand(
        "up",
        "app.cli.commands.up:up",
        "Run everything in the foreground until Ctrl-C or SIGTERM.",
    ),
    LazyCommand(
        "api",
        "app.cli.commands.parts:api",
        "Run the API server alone (this process becomes it, or the parent of several).",
    ),
    LazyCommand(
        "page", "app.cli.commands.parts:page", "Run the page for people alone (this process becomes it)."
    ),
    LazyCommand("worker", "app.cli.commands.parts:worker", "Run one worker alone (this process becomes it)."),
    LazyCommand(
        "migrate",
        "app.cli.commands.machine.migrate:migrate",
        "Bring the database to this version's schema; an SQLite file is copied before.",
    ),
    LazyCommand(
        "backup",
        "app.cli.commands.machine.backup:backup",
        "Copy database and store of this installation while it runs; exit with 1 if files are damaged.",
    ),
    LazyCommand(
        "restore",
        "app.cli.commands.machine.backup:restore",
        "Make an installation of a backup, in an empty database and store; may be killed and run again.",
    ),
    LazyCommand(
        "keys",
        "app.cli.commands.machine.keys:app",
        "Keys of a service, on its machine: create, list, revoke.",
    ),
    LazyCommand(
        "doctor",
        "app.cli.commands.machine.doctor:doctor",
        "Check an installation; exit with 1 if there are problems that have not been repaired.",
    ),
    LazyCommand(
        "demo",
        "app.cli.demo.command:demo",
        "Train on a small real sample, compare with the baseline, and predict.",
    ),
    LazyCommand(
        "train",
        "app.cli.commands.train:train",
        "Upload a file, train a network on it, and compare it with the baseline.",
    ),
    LazyCommand(
        "sweep",
        "app.cli.commands.sweep:sweep",
        "Train a network for each setting of a search, over several seeds; the best becomes the version.",
    ),
    LazyCommand(
        "predict",
        "app.cli.commands.predict:predict",
        "Predict each instance of a file, or one text; one prediction a line, in order.",
    ),
    LazyCommand(
        "explain",
        "app.cli.commands.explain:explain",
        "Explain one prediction: which steps of its input it depended on.",
    ),
    LazyCommand(
        "batch",
        "app.cli.commands.batch:batch",
        "Predict every example of a data set; the result is JSON Lines, one prediction a line, in order.",
    ),
    LazyCommand(
        "evaluate",
        "app.cli.commands.evaluate:evaluate",
        "Compare versions and baselines on a data set: metrics with intervals, and paired differences.",
    ),
    LazyCommand("jobs", "app.cli.commands.jobs:app", "Jobs: list, show, watch, logs, cancel, pause, resume."),
    LazyCommand(
        "models",
        "app.cli.commands.models:app",
        "Trained models: list, show, promote, download, export, import, delete.",
    ),
    LazyCommand(
        "webhooks",
        "app.cli.commands.webhooks:app",
        "Webhooks of a project: list, show, add, test, deliveries, remove.",
    ),
)


class Recurra(LazyGroup):
    """The commands of `recurra`."""

    members = MEMBERS


app = typer.Typer(
    name="recurra",
    cls=Recurra,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer passes it so
    if value:
        typer.echo(f"recurra {version('recurra-server')}")
        raise typer.Exit


@app.callback()
def recurra(
    *,
    version_: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Train and serve recurrent networks over REST."""


def main() -> None:
    """Entry point of the `recurra` command."""
    app()
