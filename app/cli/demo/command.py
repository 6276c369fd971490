"""`recurra demo`: the whole service on real data, from the upload to answers that are checked."""

import tempfile
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.client import ClientError
from app.cli.commands.serve import fail, read_settings
from app.cli.console import notes
from app.cli.demo import forecast, text
from app.cli.demo.steps import Lost
from app.cli.stack.embedded_servers import Busy
from app.cli.stack.parts import NotReady, Signals, Stack, Stop, listen


class Shown(StrEnum):
    """The tasks that have a demo."""

    FORECASTING = "forecasting"
    CLASSIFICATION = "classification"
    TAGGING = "tagging"
    GENERATION = "generation"
    TRANSLATION = "translation"


def demo(
    *,
    task: Annotated[Shown, typer.Option(help="What is shown.")] = Shown.FORECASTING,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Keep everything here; by default nothing is kept.")
    ] = None,
) -> None:
    """Train on a small real sample, compare with the obvious answer, and predict."""
    console, signals = notes(), Signals()
    try:
        with ExitStack() as cleanup:
            directory = data_dir or Path(
                cleanup.enter_context(tempfile.TemporaryDirectory(prefix="recurra-"))
            )
            opened = cleanup.enter_context(listen("127.0.0.1", 0))
            stack = cleanup.enter_context(Stack(read_settings(directory), opened, console.print, signals))
            console.print(f"Recurra is ready at {stack.url}", style="bold")
            cleanup.callback(signals.count_them)
            signals.interrupt()
            run(task, stack.url, directory)
    except (Stop, KeyboardInterrupt):
        console.print("Stopped", style="dim")
    except (Busy, NotReady, Lost, ClientError) as error:
        fail(console, f"The demo failed: {error}")
    finally:
        signals.restore()


def run(task: Shown, url: str, directory: Path) -> None:
    """Show a task on a running service; raises `Lost` when a network loses that should not."""
    if task is Shown.FORECASTING:
        forecast.forecasting(url, directory)
    else:
        text.show(url, text.DEMOS[task])
