"""From a request with a file to a stored data set, for every interface that takes uploads."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import orjson
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.requests import Request

from app.api.deps import AppState
from app.api.uploads.multipart import UploadForm, receive_upload
from app.errors import Unavailable
from app.infrastructure.disk import check_free
from app.schemas import DatasetOut
from app.services import datasets, idempotency
from app.services.access import usage
from app.services.datasets import Upload
from app.services.idempotency import CachedResponse, KeyedRequest, KeyLock
from app.thread_pools import CLEANUPS, UPLOADS

UPLOAD_LOCK_SECONDS = 900.0


async def create_dataset(
    request: Request,
    shared: AppState,
    key: str | None,
    describe: Callable[[UploadForm], Upload],
    *,
    duplicate: bool = False,
) -> CachedResponse:
    """Receive a file, read and store it; the status and the data set.

    `describe` makes of the form what is to be stored, beside the event loop; `key` is the idempotency key.
    """
    expected_bytes = int(request.headers.get("content-length") or 0)
    check_free(shared.incoming, expected_bytes)
    UPLOADS.check_room()  # before the file is received in vain
    if shared.caller.limits.stored_bytes is not None:
        await UPLOADS.run(_check_storage, shared, expected_bytes)
    directory = Path(tempfile.mkdtemp(dir=shared.incoming))
    try:
        form = await receive_upload(request, directory / "content", shared.limits.upload_bytes)
        return await UPLOADS.run(_create, shared, describe, form, key, duplicate=duplicate)
    finally:
        await CLEANUPS.run(shutil.rmtree, directory, ignore_errors=True)


def _check_storage(shared: AppState, expected_bytes: int) -> None:
    with shared.sessions.begin() as session:
        usage.check_storage(session, shared.caller, expected_bytes)


def _create(
    shared: AppState,
    describe: Callable[[UploadForm], Upload],
    form: UploadForm,
    key: str | None,
    *,
    duplicate: bool,
) -> CachedResponse:
    upload = describe(form)
    fingerprint = _fingerprint(upload, duplicate=duplicate)
    keyed = KeyedRequest("POST /v1/datasets", key, fingerprint) if key is not None else None

    def work(lock: KeyLock | None) -> CachedResponse:
        same = None if duplicate else _find_same(shared, upload, lock)
        return same or _store(shared, upload, lock)

    return idempotency.run_once(shared.sessions, keyed, UPLOAD_LOCK_SECONDS, work)


def _find_same(shared: AppState, upload: Upload, lock: KeyLock | None) -> CachedResponse | None:
    with shared.sessions.begin() as session:
        dataset = datasets.find_same(session, upload)
        if dataset is None:
            return None
        response = CachedResponse(200, DatasetOut.of(dataset).model_dump(mode="json"))
        if lock is not None:
            idempotency.finish(session, lock, response)
    return response


def _store(shared: AppState, upload: Upload, lock: KeyLock | None) -> CachedResponse:
    dataset = datasets.ingest(upload, shared.limits.ingest_seconds, shared.limits.files)
    try:
        datasets.store(shared.storage, dataset, upload)
        with shared.sessions.begin() as session:
            usage.check_storage(session, shared.caller, dataset.bytes)
            dataset.key_id = shared.caller.key_id
            session.add(dataset)
            session.flush()
            session.refresh(dataset)
            response = CachedResponse(201, DatasetOut.of(dataset).model_dump(mode="json"))
            if lock is not None:
                idempotency.finish(session, lock, response)
    except (OperationalError, InterfaceError):
        raise  # the commit may have succeeded without its reply; the janitor deletes files without a row
    except Unavailable:
        raise  # the store is away, and would be asked in vain to delete: likewise
    except BaseException:
        shared.storage.delete(datasets.prefix(dataset.id))
        raise
    return response


def _fingerprint(upload: Upload, *, duplicate: bool) -> str:
    content = [
        upload.sha256,
        upload.task,
        upload.name,
        upload.format,
        sorted(upload.columns.items()),
        duplicate,
    ]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()
