"""`recurra up` and the commands that run its parts alone."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.cli.stack.embedded_servers import DirectoryInUse
from app.cli.stack.parts import (
    SAFE_PATH,
    NotReady,
    Signals,
    Stack,
    StopRequested,
    api_command,
    open_listener,
    worker_command,
)
from app.database.engine import make_engine, make_readers
from app.database.migrate import upgrade
from app.infrastructure.server_binary import ServerMissing
from app.services.jobs.workers import list_live
from app.settings import Settings

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="RECURRA_DATA_DIR", help="Directory for all files.")
]


class WorkerRole(StrEnum):
    """The kinds of workers."""

    TRAIN = "train"
    SERVE = "serve"


def up(host: Host = "127.0.0.1", port: Port = 8000, data_dir: DataDir = Path(".recurra")) -> None:
    """Run everything in the foreground until Ctrl-C or SIGTERM."""
    console = Console(stderr=True, highlight=False)
    settings = read_settings(data_dir)
    try:
        listener = open_listener(host, port)
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


def api(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Run the API server alone (this process becomes it)."""
    exec_command(api_command("--host", host, "--port", str(port)))


def worker(
    *,
    role: Annotated[WorkerRole, typer.Option(help="Whether it trains or serves.")],
    check: Annotated[
        bool, typer.Option("--check", help="Run none; exit 0 if a worker of this role runs on this host.")
    ] = False,
) -> None:
    """Run one worker alone (this process becomes it)."""
    if not check:
        exec_command(worker_command(role))
    with open_database() as engine, make_readers(engine)() as session:
        lives = any(row.role == role and row.host == socket.gethostname() for row, _ in list_live(session))
    raise typer.Exit(0 if lives else 1)


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


def exec_command(command: list[str]) -> NoReturn:
    """Replace this process by a command, so that signals reach it directly."""
    os.execve(command[0], command, {**os.environ, **SAFE_PATH})  # noqa: S606 - our own command lines, no shell


def explain_listen_error(host: str, port: int, error: OSError) -> str:
    """A sentence on why the address cannot be used, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use; choose another with --port (0 finds a free one)"
    return f"Cannot listen on {host}:{port}: {error.strerror or error}"


def fail(console: Console, message: str) -> NoReturn:
    """Print an error and exit with 1."""
    console.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)
