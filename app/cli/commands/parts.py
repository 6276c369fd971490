"""`recurra api` and `recurra worker`: one part alone. Imports little, for the health check of a worker."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.stack.command_lines import (
    PackagesMissing,
    api_command,
    check_page_packages,
    check_worker_packages,
    exec_command,
    page_command,
    worker_command,
)
from app.infrastructure import liveness

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]

Processes = Annotated[
    int,
    typer.Option(
        min=1, max=256, envvar="RECURRA_API_PROCESSES",
        help="API processes that accept connections from the one socket.",
    ),
]  # fmt: skip


class WorkerRole(StrEnum):
    """The kinds of workers."""

    TRAIN = "train"
    SERVE = "serve"


Insecure = Annotated[
    bool, typer.Option("--insecure", help="Without keys, answer other machines too (see RECURRA_AUTH).")
]


def api(
    *, host: Host = "127.0.0.1", port: Port = 8000, processes: Processes = 1, insecure: Insecure = False
) -> None:
    """Run the API server alone (this process becomes it, or the parent of several)."""
    address = ("--host", host, "--port", str(port), *(["--insecure"] if insecure else []))
    exec_command(api_command(*address, "--processes", str(processes)))


def worker(
    *,
    role: Annotated[WorkerRole, typer.Option(help="Whether it trains or serves.")],
    check: Annotated[
        bool, typer.Option("--check", help="Run none; exit 0 if a worker of this role runs on this host.")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", envvar="RECURRA_DATA_DIR", help="Directory for its files.")
    ] = None,
) -> None:
    """Run one worker alone (this process becomes it)."""
    if check:
        if liveness.lives(data_dir or Path(".recurra"), role):
            return
        typer.echo(f"No {role} worker on this host has reported to the database lately", err=True)
        raise typer.Exit(1)
    try:
        check_worker_packages()
    except PackagesMissing as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    exec_command(worker_command(role), {"RECURRA_DATA_DIR": str(data_dir)} if data_dir else {})


def page(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8001,
    url: Annotated[
        str, typer.Option(envvar="RECURRA_URL", help="URL of the service, as the page reaches it.")
    ] = "http://127.0.0.1:8000",
    public_url: Annotated[
        str, typer.Option(envvar="RECURRA_PUBLIC_URL", help="The same as people reach it, if it is another.")
    ] = "",
    insecure: Insecure = False,
) -> None:
    """Run the page for people alone (this process becomes it)."""
    try:
        check_page_packages()
    except PackagesMissing as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    address = ("--host", host, "--port", str(port), *(["--insecure"] if insecure else []))
    exec_command(page_command(*address, "--url", url, "--public-url", public_url or url))
