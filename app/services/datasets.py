"""Data sets: parsed when they are uploaded, stored as the original file and as arrays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from app.arrays import Arrays
from app.database.tables import Dataset, Job
from app.errors import Conflict, DatasetInvalid, Invalid, NotFound, Problem
from app.identifiers import new_id
from app.infrastructure.disk import check_free
from app.infrastructure.storage import Storage
from app.infrastructure.stored_arrays import map_arrays, unpack, unpacked_bytes
from app.ingest import run_child
from app.ingest.limits import FileLimits
from app.services.paging import Paging
from app.states import EVALUATE, LIVE
from app.tasks import TASKS
from app.tasks.preview import PREVIEW_FILE, WHOLE
from app.typedefs import Json
from app.validation import file_kinds
from app.validation.names import unknown_name

MAX_DATASET_BYTES = 1 << 28  # of a data set's arrays, packed or not, that one request reads


class TooManyBytes(Invalid):
    """A data set is too large to be read for one request."""


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
    """Return the key prefix of a data set's files in the store."""
    return f"datasets/{dataset_id}"


def ingest(upload: Upload, seconds: float, limits: FileLimits = FileLimits()) -> Dataset:  # noqa: B008 - frozen
    """Parse the file in a child process and return its row; the arrays are in `arrays/` beside the file.

    Raises `Invalid` for an unknown task or format, and what `run_child.ingest` raises.
    """
    task = TASKS.get(upload.task)
    if task is None:
        raise Invalid(problems=[Problem("/task", unknown_name("task", upload.task, sorted(TASKS)))])
    with upload.path.open("rb") as file:
        head = file.read(file_kinds.SNIFF_BYTES)
    format_name = upload.format
    if file_kinds.compression(head) is None:
        format_name = file_kinds.choose_format(task.name, task.formats, upload.filename, head, upload.format)
    arrays = upload.path.parent / "arrays"
    arrays.mkdir()
    result = run_child.ingest(
        upload.path,
        task=task.name,
        format=format_name,
        filename=upload.filename,
        columns=upload.columns,
        out=arrays,
        seconds=seconds,
        limits=limits,
    )
    return Dataset(
        id=new_id("ds"),
        name=upload.name or upload.filename,
        task=task.name,
        format=result.format,
        bytes=upload.bytes,
        sha256=upload.sha256,
        filename=upload.filename,
        summary=result.summary,
        warnings=result.warnings,
    )


def find_same(session: Session, upload: Upload) -> Dataset | None:
    """The newest data set that the same upload has made: of the same content, task, format and columns."""
    query = select(Dataset).where(Dataset.sha256 == upload.sha256, Dataset.task == upload.task)
    requested = file_kinds.OTHER_NAMES.get(upload.format or "", upload.format)
    return next(
        (
            row
            for row in session.scalars(query.order_by(Dataset.id.desc()))
            if row.summary.get("columns") == upload.columns and requested in (None, row.format)
        ),
        None,
    )


def store(storage: Storage, dataset: Dataset, upload: Upload) -> None:
    """Store the file with its arrays and preview; until the row is there, cleanup may delete them."""
    storage.put(f"{prefix(dataset.id)}/content", upload.path)
    for path in sorted((upload.path.parent / "arrays").iterdir()):
        storage.put(_stored_key(dataset.id, path.name), path)


def _stored_key(dataset_id: str, name: str) -> str:
    """The key of a file that reading an upload has made: workers fetch all of `arrays/`."""
    return f"{prefix(dataset_id)}/{name}" if name == PREVIEW_FILE else f"{prefix(dataset_id)}/arrays/{name}"


def list_page(session: Session, paging: Paging) -> list[Dataset]:
    """Return the page's data sets, newest first, and one more if there are more."""
    return list(session.scalars(paging.apply(select(Dataset), Dataset.id)))


def get(session: Session, dataset_id: str) -> Dataset:
    """Return the data set; raises `NotFound`."""
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise NotFound(f"There is no data set {dataset_id}")
    return dataset


def read_content(storage: Storage, dataset_id: str) -> Iterator[bytes]:
    """Yield the uploaded file in chunks; raises `NotFound` before the first."""
    return storage.read(f"{prefix(dataset_id)}/content")


def load_preview(storage: Storage, dataset_id: str) -> Json:
    """The number of a data set's `examples` and its first `rows`; raises `NotFound` if none are stored."""
    preview: Json = orjson.loads(b"".join(storage.read(_stored_key(dataset_id, PREVIEW_FILE))))
    return preview


def make_preview(
    storage: Storage,
    dataset: Dataset,
    directory: Path,
    seconds: float,
    limits: FileLimits = FileLimits(),  # noqa: B008 - it is frozen
) -> Json:
    """Read a file anew that was stored without a preview, as earlier versions did, and store its preview.

    Raises `Conflict` if the file would not be accepted today, and what `run_child.ingest` raises else.
    """
    path, arrays = directory / "content", directory / "arrays"
    storage.fetch_file(f"{prefix(dataset.id)}/content", path)
    arrays.mkdir()
    columns: Any = dataset.summary.get("columns", {})
    try:
        run_child.ingest(
            path,
            task=dataset.task,
            format=dataset.format,
            filename=dataset.filename,
            columns=columns,
            out=arrays,
            seconds=seconds,
            limits=limits,
        )
    except DatasetInvalid as error:
        detail = f"The data set has no preview, and its file would be refused today: {error.message}"
        raise Conflict(detail) from error
    storage.put(_stored_key(dataset.id, PREVIEW_FILE), arrays / PREVIEW_FILE)
    return load_preview(storage, dataset.id)


def read_example(storage: Storage, dataset: Dataset, index: int, directory: Path) -> Json:
    """The number of a data set's `examples` and one of them as a whole; files are read in `directory`.

    Raises `NotFound`, `NoSpace`, `TooManyBytes`, and `Conflict` for arrays of an earlier version.
    """
    arrays, _ = map_stored(storage, dataset.id, directory)
    try:
        rows = TASKS[dataset.task].preview(arrays, WHOLE)
        if index < rows.total:
            return {"examples": rows.total, "example": rows.row(index)}
    except KeyError as error:
        detail = "An earlier version stored the data set: upload it again to see its examples as a whole."
        raise Conflict(detail) from error
    raise NotFound(f"The data set has {rows.total:,} examples, the first of them is 0; there is no {index}")


def map_stored(storage: Storage, dataset_id: str, directory: Path) -> tuple[Arrays, int]:
    """The arrays of a data set, mapped from files in `directory`, and the bytes that they take.

    Raises `NotFound` where it was deleted meanwhile, `NoSpace`, and `TooManyBytes`.
    """
    sizes = storage.sizes(f"{prefix(dataset_id)}/arrays")
    if not sizes:
        raise NotFound(f"There is no data set {dataset_id}")
    _check_size(sum(sizes.values()))
    check_free(directory, sum(sizes.values()))
    path = directory / "arrays.npz"
    storage.fetch_file(_stored_key(dataset_id, path.name), path)
    size = unpacked_bytes(path)
    _check_size(size)
    check_free(directory, size)
    return map_arrays(unpack(path, directory / "mapped")), size


def _check_size(size: int) -> None:
    if size > MAX_DATASET_BYTES:
        detail = f"has {size:,} bytes, of which a request reads {MAX_DATASET_BYTES:,} at most"
        raise TooManyBytes(detail, [Problem("/dataset", detail)])


def remove(session: Session, dataset_id: str) -> Callable[[Storage], None]:
    """Delete a data set's row and return what deletes its files, to be called after the commit.

    Raises `NotFound`, and `Conflict` when a live job needs the data set.
    """
    dataset = session.get(Dataset, dataset_id, with_for_update=True)
    if dataset is None:
        raise NotFound(f"There is no data set {dataset_id}")
    learns = Job.options["training_dataset"].as_string() == dataset_id  # what baselines learn from
    needs = or_(Job.dataset_id == dataset_id, and_(Job.kind == EVALUATE, learns))
    job_id = session.scalar(select(Job.id).where(needs, Job.status.in_(LIVE)).limit(1))
    if job_id is not None:
        raise Conflict(f"The job {job_id} needs this data set")
    session.delete(dataset)
    return lambda storage: storage.delete(prefix(dataset_id))
