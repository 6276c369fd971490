"""`recurra demo`: the whole service on real data, from the upload to predictions."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import notes
from app.cli.demo.run import DemoFailed, run_demo
from app.cli.installation import fail, read_settings
from app.cli.stack.command_lines import PackagesMissing, check_worker_packages
from app.cli.stack.embedded_servers import DirectoryInUse
from app.cli.stack.parts import NotReady, Signals, Stack, StopRequested, open_listener
from app.infrastructure.processes.server_binary import ServerMissing
from app.tasks import TASKS
from recurra import RecurraError

ALL_TASKS = "all"
DEFAULT_TASK = next(name for name, task in TASKS.items() if task.demo.default)


def demo(
    *,
    task: Annotated[
        str, typer.Option(help=f"One of {', '.join(sorted(TASKS))}; or all, one after the other.")
    ] = DEFAULT_TASK,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Directory for all files; by default a temporary one."),
    ] = None,
) -> None:
    """Train on a small real sample, compare with the baseline, and predict."""
    if task not in TASKS and task != ALL_TASKS:
        raise typer.BadParameter(f"there is no task {task}; name one of {', '.join(sorted(TASKS))}, or all")
    console, signals = notes(), Signals()
    try:
        check_worker_packages()
        with ExitStack() as cleanup:
            directory = data_dir or Path(
                cleanup.enter_context(tempfile.TemporaryDirectory(prefix="recurra-"))
            )
            listener = cleanup.enter_context(open_listener("127.0.0.1", 0))
            stack = cleanup.enter_context(Stack(read_settings(directory), listener, console.print, signals))
            console.print(f"Recurra is ready at {stack.url}", style="bold")
            cleanup.callback(signals.count_signals)
            signals.interrupt()
            for name in sorted(TASKS) if task == ALL_TASKS else [task]:
                run_demo(stack.url, TASKS[name], directory)
    except (StopRequested, KeyboardInterrupt):
        console.print("Stopped", style="dim")
    except (PackagesMissing, DirectoryInUse, NotReady, ServerMissing, DemoFailed, RecurraError) as error:
        fail(console, f"The demo failed: {error}")
    finally:
        signals.restore()
