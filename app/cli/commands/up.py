"""`recurra up`."""

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from app.cli.commands.parts import Host, Insecure, Port, Processes
from app.cli.installation import DataDir, fail, read_settings
from app.cli.stack.command_lines import PackagesMissing, check_page_packages, check_worker_packages
from app.cli.stack.embedded_servers import DirectoryInUse
from app.cli.stack.parts import NotReady, Signals, Stack, StopRequested, open_listener, url_of
from app.infrastructure.processes.exposure import Exposed, check_exposure
from app.infrastructure.processes.managed import keep_files_private
from app.infrastructure.processes.server_binary import ServerMissing
from app.settings import KEYS


def up(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    processes: Processes = 1,
    insecure: Insecure = False,
    data_dir: DataDir = Path(".recurra"),
) -> None:
    """Run everything in the foreground until Ctrl-C or SIGTERM."""
    keep_files_private()
    console = Console(stderr=True, highlight=False)
    settings = read_settings(data_dir)
    try:
        check_worker_packages()
        check_exposure(host, needs_keys=settings.auth == KEYS, insecure=insecure)
        listener = open_listener(host, port)
    except PackagesMissing as error:
        fail(console, f"{error}. `recurra api` runs without them")
    except Exposed as error:
        fail(console, str(error))
    except OSError as error:
        fail(console, explain_listen_error(host, port, error))
    signals, note = Signals(), partial(console.print, style="dim", markup=False, soft_wrap=True)
    try:
        with listener, open_page_listener(host, listener, note) as page:
            stack = Stack(settings, listener, console.print, signals, processes, insecure, page)
            _run(stack, console)
    except StopRequested:
        console.print("Stopped before it was ready", style="dim")
    except (DirectoryInUse, NotReady, ServerMissing) as error:
        fail(console, str(error))
    finally:
        signals.restore()


def _run(stack: Stack, console: Console) -> None:
    with stack:
        typer.echo(f"Recurra is ready at {stack.url}")
        sys.stdout.flush()
        page = "" if stack.page_listener is None else f"The page is at {url_of(stack.page_listener)}. "
        console.print(
            f"{page}Documentation at {stack.url}/docs, logs in {stack.logs}", style="dim", soft_wrap=True
        )
        stack.supervise()
        console.print("Stopping (Ctrl-C again kills)", style="dim")


@contextmanager
def open_page_listener(
    host: str, listener: socket.socket, report: Callable[[str], None]
) -> Iterator[socket.socket | None]:
    """A socket for the page, on the port after the API's or a free one; None without its packages."""
    try:
        check_page_packages()
    except PackagesMissing as error:
        report(f"Without the page. {error}")
        yield None
        return
    try:
        opened = open_listener(host, int(listener.getsockname()[1]) + 1)
    except (OSError, OverflowError):
        opened = open_listener(host, 0)
    with opened:
        yield opened


def explain_listen_error(host: str, port: int, error: OSError) -> str:
    """A sentence on why the address cannot be used, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use; choose another with --port (0 finds a free one)"
    return f"Cannot listen on {host}:{port}: {error.strerror or error}"
