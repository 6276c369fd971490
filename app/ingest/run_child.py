"""An uploaded file is read in a child process: whatever it does there, this process only sees an answer."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from app.errors import AppError, DatasetInvalid, NoSpace, Problem
from app.infrastructure.processes import signal_group
from app.typedefs import Json

log = logging.getLogger(__name__)


MEMORY_BYTES = 6 << 30  # address space of the child
MAGIC = {b"PAR1": "parquet", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b": "gzip"}
OBJECTS = re.compile(rb"[{\[]")  # how JSON Lines begin among tables
NAMED = re.compile(rb'(\[\s*)?\{\s*"|\{\s*\}')  # and beside plain text, which may begin with a bracket too
PLAIN = {"txt", "conll"}  # formats that may begin with any sign
JSON_NAMES = ("jsonl", "json", "ndjson")
UNREADABLE = "The file could not be read."
KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "TMPDIR")  # no secrets
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",  # each thread would reserve address space
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Intake:
    """What the file became; its arrays lie in the directory that was given."""

    summary: Json
    warnings: list[str]


def detect_format(formats: Sequence[str], filename: str, head: bytes) -> str:
    """Tell a format by the first bytes and, between kinds of text, the name; may be none of `formats`."""
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    suffix = PurePath(filename).suffix.lower().removeprefix(".")
    plain = not PLAIN.isdisjoint(formats)
    begins = (NAMED if plain else OBJECTS).match(head.removeprefix(b"\xef\xbb\xbf").lstrip())
    if "jsonl" in formats and (begins or (plain and suffix in JSON_NAMES)):
        return "jsonl"
    texts = [name for name in formats if name not in (*MAGIC.values(), "jsonl")] or list(formats)
    return suffix if suffix in texts else "csv" if "csv" in texts else texts[0]


def take_in(
    path: Path,
    *,
    task: str,
    format: str,  # noqa: A002 - the field's name in the API
    columns: dict[str, str],
    out: Path,
    seconds: float,
    module: str = "app.ingest.child",
) -> Intake:
    """Read a file into `out/arrays.npz`.

    Raises `DatasetInvalid` when it cannot be used and `NoSpace`; then `out` is left empty.
    """
    spec = {
        "path": str(path),
        "task": task,
        "format": format,
        "columns": columns,
        "out": str(out),
        "memory_bytes": MEMORY_BYTES,
        "cpu_seconds": int(seconds) + 1,
        "parent": os.getpid(),
    }
    try:
        return _understand(_ask(module, json.dumps(spec).encode(), seconds))
    except AppError:
        for left in out.iterdir():
            left.unlink()
        raise


def _understand(answer: Json) -> Intake:
    if answer["ok"]:
        return Intake(answer["summary"], answer["warnings"])
    if answer.get("no_space"):
        raise NoSpace
    problems = [Problem(one["pointer"], one["detail"]) for one in answer["problems"]]
    raise DatasetInvalid(answer["message"], problems)


def _ask(module: str, spec: bytes, seconds: float) -> Json:
    """Run the child; whatever it says beside its answer goes to the log."""
    try:
        with subprocess.Popen(  # noqa: S603 - our own command line, no shell
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in KEPT if name in os.environ} | ONE_THREAD,
            start_new_session=True,
        ) as child:
            try:
                said, complaint = child.communicate(spec, timeout=seconds)
            except BaseException:
                signal_group(child.pid, signal.SIGKILL)
                raise
    except subprocess.TimeoutExpired:
        raise _unreadable(f"Reading the file took longer than {seconds:g} seconds.") from None
    if complaint:
        log.warning("ingest: %s", complaint.decode(errors="replace")[-4000:])
    try:
        answer: Json = json.loads(said)
    except ValueError:
        log.error("ingest ended with status %s and no answer", child.returncode)  # noqa: TRY400 - no traceback to show
        raise _unreadable(UNREADABLE) from None
    return answer


def _unreadable(detail: str) -> DatasetInvalid:
    return DatasetInvalid(detail, [Problem("/file", detail)])
