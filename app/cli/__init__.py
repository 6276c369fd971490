"""The command line `recurra`."""

import typer

from app.cli.commands import batch, doctor, jobs, models, predict, serve, sweep, train
from app.cli.demo import command

app = typer.Typer(
    name="recurra",
    help="Train and serve recurrent networks over REST.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve.up)
app.command()(serve.api)
app.command()(serve.worker)
app.command()(serve.migrate)
app.command()(doctor.doctor)
app.command()(command.demo)
app.command()(train.train)
app.command()(sweep.sweep)
app.command()(predict.predict)
app.command()(batch.batch)
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")


def main() -> None:
    """Entry point of the `recurra` command."""
    app()
