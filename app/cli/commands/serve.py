"""`recurra up` and `recurra migrate`."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.cli.commands.parts import Host, Port
from app.cli.stack.command_lines import PackagesMissing, check_worker_packages
from app.cli.stack.embedded_servers import DirectoryInUse
from app.cli.stack.parts import NotReady, Signals, Stack, StopRequested, open_listener
from app.database.engine import make_engine
from app.database.migrate import upgrade
from app.infrastructure.server_binary import ServerMissing
from app.settings import Settings

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="RECURRA_DATA_DIR", help="Directory for all files.")
]


def up(host: Host = "127.0.0.1", port: Port = 8000, data_dir: DataDir = Path(".recurra")) -> None:
    """Run everything in the foreground until Ctrl-C or SIGTERM."""
    console = Console(stderr=True, highlight=False)
    settings = read_settings(data_dir)
    try:
        check_worker_packages()
        listener = open_listener(host, port)
    except PackagesMissing as error:
        fail(console, f"{error}. `recurra api` runs without them")
    except OSError as error:
        fail(console, explain_listen_error(host, port, error))
    signals = Signals()
    try:
        with listener, Stack(settings, listener, console.print, signals) as stack:
            typer.echo(f"Recurra is ready at {stack.url}")
            sys.stdout.flush()
            console.print(
                f"Documentation at {stack.url}/docs, logs in {stack.logs}", style="dim", soft_wrap=True
            )
            stack.supervise()
            console.print("Stopping (Ctrl-C again kills)", style="dim")
    except StopRequested:
        console.print("Stopped before it was ready", style="dim")
    except (DirectoryInUse, NotReady, ServerMissing) as error:
        fail(console, str(error))
    finally:
        signals.restore()


def migrate() -> None:
    """Bring the database to this version's schema."""
    with open_database() as engine:
        upgrade(engine)


@contextmanager
def open_database() -> Iterator[Engine]:
    """Connect to the database of the settings; an error is printed, and the command exits with 1."""
    engine = make_engine(read_settings(None).database)
    try:
        yield engine
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        fail(Console(stderr=True), f"The database at {engine.url.render_as_string()} failed: {reason}")
    finally:
        engine.dispose()


def read_settings(data_dir: Path | None) -> Settings:
    """The settings of the environment; an invalid variable is a usage error."""
    try:
        return Settings() if data_dir is None else Settings(data_dir=data_dir)
    except ValidationError as error:
        raise typer.BadParameter(
            "; ".join(f"RECURRA_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        ) from None


def explain_listen_error(host: str, port: int, error: OSError) -> str:
    """A sentence on why the address cannot be used, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use; choose another with --port (0 finds a free one)"
    return f"Cannot listen on {host}:{port}: {error.strerror or error}"


def fail(console: Console, message: str) -> NoReturn:
    """Print an error and exit with 1."""
    console.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)
