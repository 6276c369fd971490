"""What the commands that run on the service's machine share: its settings and its data directory."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from app.settings import Settings

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="RECURRA_DATA_DIR", help="Directory for all files.")
]


def read_settings(data_dir: Path | None) -> Settings:
    """The settings of the environment; an invalid variable is a usage error."""
    try:
        return Settings() if data_dir is None else Settings(data_dir=data_dir)
    except ValidationError as error:
        raise typer.BadParameter(
            "; ".join(f"RECURRA_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        ) from None


def fail(console: Console, message: str) -> NoReturn:
    """Print an error and exit with 1."""
    console.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)
