"""The child process that reads one uploaded file: its spec comes on stdin, its answer goes to stdout."""

import errno
import gc
import json
import resource
import signal
import sys
from pathlib import Path

import numpy as np

from app.errors import DatasetInvalid, Problem
from app.infrastructure.processes import die_with_parent
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.contract import Faults, Task
from app.typedefs import Json

LARGEST_FILE = 16 << 30  # bytes of arrays


def main() -> None:
    """Answer one spec."""
    gc.disable()  # rows are millions of small lists without cycles; looking for cycles halves the speed
    spec = json.load(sys.stdin)
    confine(spec["memory_bytes"], spec["cpu_seconds"], spec["parent"])
    answer = ingest(spec, TASKS[spec["task"]])
    json.dump(answer, sys.stdout, allow_nan=False)


def confine(memory_bytes: int, cpu_seconds: int, parent: int) -> None:
    """Bound this process before it touches the file, and end it with its parent."""
    die_with_parent(parent, signal.SIGKILL)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: LARGEST_FILE,
    }
    if sys.platform == "linux":  # macOS refuses it
        limits[resource.RLIMIT_AS] = memory_bytes
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, hard))


def ingest(spec: Json, task: Task) -> Json:
    """Read the file of a spec and store its arrays; never raises for what is in the file."""
    try:
        return _read(spec, task)
    except DatasetInvalid as error:
        return refusal(error.message, error.problems)
    except MemoryError:
        detail = "The file is too large to be read into memory."
        return refusal(detail, [Problem("/file", detail)])
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return {"ok": False, "no_space": True}


def _read(spec: Json, task: Task) -> Json:
    faults = Faults()
    mapping = Mapping.checked(spec["columns"], task.columns)
    reading = task.read(open_source(Path(spec["path"]), spec["format"], mapping, faults), faults)
    faults.check()
    np.savez(Path(spec["out"]) / "arrays.npz", allow_pickle=False, **reading.arrays)
    return {"ok": True, "summary": reading.summary, "warnings": reading.warnings}


def refusal(message: str, problems: list[Problem]) -> Json:
    """The answer for a file that cannot be used."""
    return {"ok": False, "message": message, "problems": [problem._asdict() for problem in problems]}


if __name__ == "__main__":
    main()
