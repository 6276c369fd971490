"""Models, their versions and aliases."""

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from fastapi import APIRouter, BackgroundTasks
from fastapi.responses import Response, StreamingResponse

from app.api.deps import HouseDep, PagingDep, ReadSession, reply
from app.schemas import AliasIn, AliasName, AliasOut, ModelName, ModelOut, Page, VersionNumber, VersionOut
from app.services import models
from app.storage import CHUNK, Storage

router = APIRouter(prefix="/v1/models", tags=["models"])

SPOOL_BYTES = 16 << 20  # an archive larger than this goes through a temporary file


@router.get("", response_model=Page[ModelOut])
def find(session: ReadSession, at: PagingDep) -> Response:
    """All models."""
    rows, cursor = at.page(models.find(session, at), "id")
    data = [
        ModelOut.of(row, models.aliases(session, row.name), models.latest(session, row.name)) for row in rows
    ]
    return reply(Page(data=data, has_more=cursor is not None, next_cursor=cursor))


@router.get("/{name}", response_model=ModelOut)
def read(name: str, session: ReadSession) -> Response:
    """One model."""
    row = models.get(session, name)
    return reply(ModelOut.of(row, models.aliases(session, name), models.latest(session, name)))


@router.get("/{name}/versions", response_model=Page[VersionOut])
def versions(name: str, session: ReadSession, at: PagingDep) -> Response:
    """A model's versions, newest first."""
    rows, cursor = at.page(models.versions(session, name, at), "version")
    data = [VersionOut.of(row) for row in rows]
    return reply(Page(data=data, has_more=cursor is not None, next_cursor=cursor))


@router.get("/{name}/versions/{number}", response_model=VersionOut)
def version(name: str, number: VersionNumber, session: ReadSession) -> Response:
    """One version with its metrics beside the baseline's."""
    return reply(VersionOut.of(models.version(session, name, number)))


@router.get("/{name}/versions/{number}/artifact")
def artifact(name: str, number: VersionNumber, shared: HouseDep) -> StreamingResponse:
    """The version's files as a zip: manifest, weights, and the ONNX graph."""
    with shared.readers() as session:
        row = models.version(session, name, number)
    headers = {"Content-Disposition": f'attachment; filename="{name}-{number}.zip"'}
    return StreamingResponse(
        _zip(shared.storage, row.artifact), media_type="application/zip", headers=headers
    )


def _zip(storage: Storage, prefix: str) -> Iterator[bytes]:
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # weights do not compress
            for key in storage.keys(prefix):
                with archive.open(str(PurePosixPath(key).relative_to(prefix)), "w") as member:
                    for piece in storage.read(key):
                        member.write(piece)
        file.seek(0)
        while piece := file.read(CHUNK):
            yield piece


@router.delete("/{name}/versions/{number}", status_code=204)
def remove_version(name: str, number: VersionNumber, shared: HouseDep, later: BackgroundTasks) -> Response:
    """Delete a version no alias points at."""
    with shared.sessions.begin() as session:
        prefix = models.remove_version(session, name, number)
    shared.catalog.forget(name)
    later.add_task(shared.storage.delete, prefix)
    return Response(status_code=204, background=later)


@router.put("/{name}/aliases/{alias}", response_model=AliasOut)
def move_alias(name: ModelName, alias: AliasName, request: AliasIn, shared: HouseDep) -> Response:
    """Point an alias at a version: from the next request on, nothing restarts."""
    with shared.sessions.begin() as session:
        row = models.move_alias(session, name, alias, request.version)
    shared.catalog.forget(name)
    return reply(AliasOut.model_validate(row, from_attributes=True))


@router.delete("/{name}/aliases/{alias}", status_code=204)
def remove_alias(name: str, alias: str, shared: HouseDep) -> Response:
    """Delete an alias."""
    with shared.sessions.begin() as session:
        models.remove_alias(session, name, alias)
    shared.catalog.forget(name)
    return Response(status_code=204)
