"""Data sets: checked on arrival, kept as the file that came and as arrays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import Dataset, Job
from app.errors import Conflict, Invalid, NotFound, Problem
from app.identifiers import new_id
from app.infrastructure.storage import Storage
from app.ingest.run_child import detect_format, take_in
from app.services.paging import Paging
from app.states import LIVE
from app.tasks import TASKS

HEAD = 4096


@dataclass(frozen=True)
class Upload:
    """A file that has arrived in a directory of its own, with the form's other fields."""

    path: Path
    filename: str
    bytes: int
    sha256: str
    task: str
    name: str | None
    format: str | None
    columns: dict[str, str]


def prefix(dataset_id: str) -> str:
    """Where a data set's files lie in the store."""
    return f"datasets/{dataset_id}"


def check(upload: Upload, seconds: float) -> Dataset:
    """Read the file in a child process and describe it; the arrays lie beside it in `arrays/`."""
    task = TASKS.get(upload.task)
    if task is None:
        raise Invalid(problems=[Problem("/task", f"no such task; there are {', '.join(sorted(TASKS))}")])
    with upload.path.open("rb") as file:
        head = file.read(HEAD)
    kind = upload.format or detect_format(task.formats, upload.filename, head)
    if kind not in task.formats:
        raise Invalid(problems=[Problem("/format", f"{task.name} takes {', '.join(task.formats)}")])
    arrays = upload.path.parent / "arrays"
    arrays.mkdir()
    taken = take_in(
        upload.path, task=task.name, format=kind, columns=upload.columns, out=arrays, seconds=seconds
    )
    return Dataset(
        id=new_id("ds"),
        name=upload.name or upload.filename,
        task=task.name,
        format=kind,
        bytes=upload.bytes,
        sha256=upload.sha256,
        filename=upload.filename,
        summary=taken.summary,
        warnings=taken.warnings,
    )


def keep(storage: Storage, dataset: Dataset, upload: Upload) -> None:
    """Put the files into the store; they are nobody's until the row is committed."""
    storage.put(f"{prefix(dataset.id)}/content", upload.path)
    for path in sorted((upload.path.parent / "arrays").iterdir()):
        storage.put(f"{prefix(dataset.id)}/arrays/{path.name}", path)


def find(session: Session, paging: Paging) -> list[Dataset]:
    """Data sets newest first, at most one more than the page holds."""
    return list(session.scalars(paging.apply(select(Dataset), Dataset.id)))


def get(session: Session, dataset_id: str) -> Dataset:
    """The data set; raises `NotFound`."""
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise NotFound(f"There is no data set {dataset_id}")
    return dataset


def content(storage: Storage, dataset_id: str) -> Iterator[bytes]:
    """The file as it was uploaded."""
    return storage.read(f"{prefix(dataset_id)}/content")


def remove(session: Session, dataset_id: str) -> Callable[[Storage], None]:
    """Delete a data set no live job needs; call what it returns after the commit to delete the files."""
    dataset = session.get(Dataset, dataset_id, with_for_update=True)
    if dataset is None:
        raise NotFound(f"There is no data set {dataset_id}")
    needed = session.scalar(select(Job.id).where(Job.dataset_id == dataset_id, Job.status.in_(LIVE)).limit(1))
    if needed is not None:
        raise Conflict(f"The job {needed} needs this data set")
    session.delete(dataset)
    return lambda storage: storage.delete(prefix(dataset_id))
