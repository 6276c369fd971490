"""The child process that reads one uploaded file: its spec is on stdin, it writes its reply to stdout."""

import errno
import gc
import json
import resource
import signal
import sys
from pathlib import Path

import numpy as np

from app.errors import DatasetInvalid, Invalid, Problem, Unavailable, pointer
from app.infrastructure.processes.managed import die_with_parent
from app.ingest.limits import ArchiveLimits
from app.ingest.readers import ARCHIVE, Mapping, not_an_archive, open_content, open_source
from app.ingest.readers.delimited.dialect import SEPARATOR_NAMES
from app.media.decoder import limit_decoding
from app.media.limits import MediaLimits
from app.tasks import TASKS
from app.tasks.contract import Task
from app.tasks.preview import BRIEF, PREVIEW_FILE, encode_preview
from app.tasks.source import Faults, Reading, Source
from app.typedefs import Json
from app.validation.file_kinds import (
    MAGIC,
    SNIFF_BYTES,
    binary_format,
    choose_format,
    compression,
    uncompressed_name,
)

MAX_ARRAYS_BYTES = 16 << 30


def main() -> None:
    """Read the spec, limit this process, read the file, and write the reply."""
    gc.disable()  # rows are millions of small lists without cycles; looking for cycles halves the speed
    spec = json.load(sys.stdin)
    confine(spec["memory_bytes"], spec["cpu_seconds"], spec["parent"])
    limit_decoding(MediaLimits(**spec["media_limits"]))
    reply = read_upload(spec, TASKS[spec["task"]])
    json.dump(reply, sys.stdout, allow_nan=False)


def confine(memory_bytes: int, cpu_seconds: int, parent: int) -> None:
    """Limit the resources of this process before it opens the file, and end it with its parent."""
    die_with_parent(parent, signal.SIGKILL)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: MAX_ARRAYS_BYTES,
    }
    if sys.platform == "linux":  # macOS refuses it
        limits[resource.RLIMIT_AS] = memory_bytes
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, hard))


def read_upload(spec: Json, task: Task) -> Json:
    """Read the file of a spec, store its arrays, and return the reply; nothing in a file makes this raise."""
    try:
        return _read_and_store(spec, task)
    except Invalid as error:
        return refusal(error.message, error.problems)
    except Unavailable as error:
        return {"ok": False, "unavailable": error.message}
    except MemoryError:
        detail = "The file is too large to be read into memory."
        return refusal(detail, [Problem("/file", detail)]) | {"out_of_memory": True}
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return {"ok": False, "no_space": True}


def _read_and_store(spec: Json, task: Task) -> Json:
    faults = Faults()
    mapping = Mapping.checked(spec["columns"], task.columns)
    path, limits = Path(spec["path"]), ArchiveLimits(**spec["archive_limits"])
    format_name = find_format(path, spec.get("filename", ""), task, spec["format"])
    source = open_source(path, format_name, mapping, faults, limits)
    if source.has_manifest:
        check_manifest(open_source(path, format_name, mapping, Faults(), limits), task)
    reading = task.read(source, faults)
    faults.check()
    out = Path(spec["out"])
    np.savez(out / "arrays.npz", allow_pickle=False, **reading.arrays)
    (out / PREVIEW_FILE).write_bytes(encode_preview(task.preview(reading.arrays, BRIEF)))
    separated = {} if source.separator is None else {"separator": source.separator}
    extra = _trainability(reading) | separated | {"columns": spec["columns"]}
    warnings = [*_untrainable_warnings(reading), *_separator_warnings(source.separator)]
    return {
        "ok": True,
        "format": format_name,
        "summary": reading.summary | extra,
        "warnings": [*warnings, *reading.warnings],
    }


def check_manifest(source: Source, task: Task) -> None:
    """Raise `DatasetInvalid` for an archive whose manifest begins with a line for another task."""
    line, record = next(source.manifest(), (0, {}))
    fields = record.keys() - set(task.columns)
    others = [
        one.name
        for one in TASKS.values()
        if source.format in one.formats and fields and record.keys() <= set(one.columns)
    ]
    if others:
        present, wanted = ", ".join(sorted(record)), ", ".join(task.columns)
        detail = (
            f"This is an archive for {' or '.join(others)}: a line has {present}; {task.name} has {wanted}."
        )
        raise DatasetInvalid.of([Problem(pointer("file", "row", line), detail)])


def find_format(path: Path, filename: str, task: Task, requested: str | None) -> str:
    """The format of a file's content, which may be compressed; raises `Invalid` with the reason."""
    with path.open("rb") as file:
        head = file.read(SNIFF_BYTES)
    method = compression(head)
    if method is None and requested is not None:
        return requested
    if method is not None:
        with open_content(path) as file:
            head = file.read(SNIFF_BYTES)
    format_name = choose_format(task.name, task.formats, uncompressed_name(filename), head, requested)
    if method is None:
        return format_name
    if format_name == ARCHIVE and not (binary_format(head) or compression(head)):
        raise not_an_archive(head)
    if format_name in MAGIC.values() or compression(head):
        detail = (
            f"The file is compressed by {method} around a file that is compressed itself: unpack it once."
        )
        raise DatasetInvalid.of([Problem("/file", detail)])
    return format_name


def _trainability(reading: Reading) -> Json:
    """Whether the data set can be trained on, if not the reason, and whether it can be evaluated."""
    reason = {} if reading.untrainable is None else {"reason": reading.untrainable}
    return {"trainable": reading.untrainable is None, **reason, "answers": reading.has_answers}


def _separator_warnings(separator: str | None) -> list[str]:
    return [] if separator is None else [f"The fields are separated by {SEPARATOR_NAMES[separator]}."]


def _untrainable_warnings(reading: Reading) -> list[str]:
    if reading.untrainable is None:
        return []
    uses = "predicted and evaluated" if reading.has_answers else "predicted"
    return [f"{reading.untrainable} The data set can be {uses}, but not trained on."]


def refusal(message: str, problems: list[Problem]) -> Json:
    """The reply for a file that cannot be used."""
    return {"ok": False, "message": message, "problems": [problem._asdict() for problem in problems]}


if __name__ == "__main__":
    main()
