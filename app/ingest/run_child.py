"""Runs the child process that parses an uploaded file; this process only looks at its first bytes."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from app.errors import AppError, DatasetInvalid, NoSpace, Problem, Unavailable
from app.infrastructure.processes.managed import confined_environment, signal_group
from app.ingest.limits import FileLimits
from app.ingest.memory_budget import MemoryBudget
from app.typedefs import Json

log = logging.getLogger(__name__)


NICENESS = 10
MAX_LOGGED_CHARS = 4_000
# How a child ends for which an allocation failed, among others.
BROUGHT_DOWN = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGKILL}
UNREADABLE = "The file could not be read."


@dataclass(frozen=True)
class IngestResult:
    """The format, the summary and the warnings of a file that was read."""

    format: str
    summary: Json
    warnings: list[str]


def ingest(
    path: Path,
    *,
    task: str,
    format: str | None,  # noqa: A002 - the field's name in the API
    columns: dict[str, str],
    out: Path,
    seconds: float,
    limits: FileLimits = FileLimits(),  # noqa: B008 - it is frozen
    filename: str = "",
    module: str = "app.ingest.child",
) -> IngestResult:
    """Read a file in a child process, which stores its arrays and its preview in `out`.

    Of a compressed file, whose `format` may be None, the child finds the format by content and `filename`.

    Raises `DatasetInvalid` when the file cannot be used, `NoSpace` and `Unavailable`;
    `out` is then left empty.
    """
    spec: Json = {
        "path": str(path),
        "task": task,
        "filename": filename,
        "format": format,
        "columns": columns,
        "out": str(out),
        "archive_limits": asdict(limits.archive),
        "media_limits": asdict(limits.media),
        "cpu_seconds": int(seconds) + 1,
        "parent": os.getpid(),
    }

    def run(memory_bytes: int) -> Json:
        return _run_child(module, spec | {"memory_bytes": memory_bytes}, seconds)

    return _read_within(limits.memory, path.stat().st_size, run, seconds, out)


def _read_within(
    memory: MemoryBudget, size: int, run: Callable[[int], Json], seconds: float, out: Path
) -> IngestResult:
    """Read a file of `size` bytes with ever more memory, until it is enough."""

    def attempt(memory_bytes: int) -> IngestResult:
        try:
            with memory.reserve(memory_bytes, seconds):
                return _parse_reply(run(memory_bytes))
        except AppError:
            _clear(out)
            raise

    *smaller, largest = memory.trials(size)
    for memory_bytes in smaller:
        with suppress(_OutOfMemory):
            return attempt(memory_bytes)
    return attempt(largest)


class _OutOfMemory(DatasetInvalid):
    """The child had too little memory for the file, or was brought down, which may be for the same reason."""


def _clear(out: Path) -> None:
    for leftover in out.iterdir():
        leftover.unlink()


def _parse_reply(reply: Json) -> IngestResult:
    if reply["ok"]:
        return IngestResult(reply["format"], reply["summary"], reply["warnings"])
    if reply.get("no_space"):
        raise NoSpace
    if "unavailable" in reply:
        raise Unavailable(reply["unavailable"])
    problems = [Problem(one["pointer"], one["detail"]) for one in reply["problems"]]
    raise (_OutOfMemory if reply.get("out_of_memory") else DatasetInvalid)(reply["message"], problems)


def _run_child(module: str, spec: Json, seconds: float) -> Json:
    """Run the child and return its reply; what it writes to stderr goes to the log."""
    try:
        with subprocess.Popen(  # noqa: S603 - our own command line, no shell
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=confined_environment(),
            start_new_session=True,
        ) as child:
            try:
                _lower_priority(child.pid)
                stdout, stderr = child.communicate(json.dumps(spec).encode(), timeout=seconds)
            except BaseException:
                signal_group(child.pid, signal.SIGKILL)
                raise
    except subprocess.TimeoutExpired:
        raise _unreadable(f"Reading the file took longer than {seconds:g} seconds.") from None
    if stderr:
        log.warning("ingest: %s", stderr.decode(errors="replace")[-MAX_LOGGED_CHARS:])
    try:
        reply: Json = json.loads(stdout)
    except ValueError:
        log.error("ingest ended with status %s and no reply", child.returncode)  # noqa: TRY400 - no traceback to show
        brought_down = -child.returncode in BROUGHT_DOWN
        error = _OutOfMemory if brought_down else DatasetInvalid
        raise error(UNREADABLE, [Problem("/file", UNREADABLE)]) from None
    return reply


def _lower_priority(pid: int) -> None:
    """Let the process that serves requests, and trainings, go before one that reads a file."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)


def _unreadable(detail: str) -> DatasetInvalid:
    return DatasetInvalid(detail, [Problem("/file", detail)])
