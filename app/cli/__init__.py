"""The command line: `recurra …`."""

import typer

from app.cli import serve

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


def main() -> None:
    """Entry point of the `recurra` command."""
    app()
