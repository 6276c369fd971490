"""Progress of uploads and jobs: a bar in a notebook, a line on a terminal, and nothing elsewhere."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from recurra.describe import describe_job
from recurra.errors import Json
from recurra.html import progress_bar
from recurra.operations import TERMINAL

BAR_CHARS = 24
MIN_LINE_CHARS = 20


class Bar(Protocol):
    """One bar: how much is done, and a message."""

    def show(self, label: str, fraction: float, message: str) -> None:
        """Show the state in place of the last one."""
        ...

    def close(self) -> None:
        """Leave what is shown as it is."""
        ...


class NoBar:
    """Shows nothing."""

    def show(self, label: str, fraction: float, message: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to leave."""


class TerminalBar:
    """A line on stderr that is written over."""

    def __init__(self) -> None:
        self._chars = 0

    def show(self, label: str, fraction: float, message: str) -> None:
        """Write the line over the last one; control characters of the service's texts are left out."""
        done = round(BAR_CHARS * min(max(fraction, 0.0), 1.0))
        text = f"{label} {'█' * done}{'░' * (BAR_CHARS - done)} {fraction:4.0%} {message}"
        text = "".join(character for character in text if character.isprintable())
        line = text[: max(shutil.get_terminal_size().columns - 1, MIN_LINE_CHARS)]
        sys.stderr.write("\r" + line.ljust(self._chars))
        sys.stderr.flush()
        self._chars = len(line)

    def close(self) -> None:
        """End the line."""
        if self._chars:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self._chars = 0


class NotebookBar:
    """One output of a notebook's cell, which is updated."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._handle: Any = None

    def show(self, label: str, fraction: float, message: str) -> None:
        """Update the output."""
        output = BarOutput(label, fraction, message)
        if self._handle is None:
            self._handle = self._display(output, display_id=True)
        else:
            self._handle.update(output)

    def close(self) -> None:
        """Begin a new output the next time."""
        self._handle = None


class BarOutput:
    """A bar as a notebook shows it."""

    def __init__(self, label: str, fraction: float, message: str) -> None:
        self._state = (label, fraction, message)

    def __repr__(self) -> str:
        label, fraction, message = self._state
        return f"{label} {fraction:.0%} {message}"

    def _repr_html_(self) -> str:
        return progress_bar(*self._state)


def make_bar(*, enabled: bool) -> Bar:
    """The bar for where the program runs; nothing without a notebook and without a terminal."""
    if not enabled:
        return NoBar()
    if (display := _notebook_display()) is not None:
        return NotebookBar(display)
    return TerminalBar() if sys.stderr is not None and sys.stderr.isatty() else NoBar()


def _notebook_display() -> Any:
    """IPython's function `display` in a notebook; None elsewhere, also in IPython on a terminal."""
    python = sys.modules.get("IPython")
    shell = python.get_ipython() if python is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return sys.modules["IPython.display"].display


class ProgressView:
    """The progress of one call: its upload, and then its job."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def sending(self, name: str, size: int) -> "UploadView":
        """What an upload of `size` bytes reports to."""
        return UploadView(self._bar, name, size)

    def job(self, job: Json) -> None:
        """Show the state of a job."""
        progress = job.get("progress") or {}
        done = job["status"] == "succeeded"
        self._bar.show(
            str(job["model"]), 1.0 if done else float(progress.get("fraction") or 0), describe_job(job)
        )
        if job["status"] in TERMINAL:
            self._bar.close()


@contextmanager
def progress_view(*, enabled: bool) -> Iterator[ProgressView]:
    """A view of a call's progress, which is left as it is when the call ends or is given up."""
    bar = make_bar(enabled=enabled)
    try:
        yield ProgressView(bar)
    finally:
        bar.close()


class UploadView:
    """Shows how much of a file is sent."""

    def __init__(self, bar: Bar, name: str, size: int) -> None:
        self._bar, self._name, self._size, self._sent = bar, name, size, 0

    def __call__(self, count: int) -> None:
        """Add the bytes of a chunk; the end of the file shows that the server reads it now."""
        self._sent += count
        message = f"{self._sent:,} bytes" if count else "is being read"
        self._bar.show(f"upload {self._name}", self._sent / max(self._size, 1), message)
