"""Models, their versions and aliases."""

import asyncio
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from fastapi import APIRouter, BackgroundTasks
from fastapi.responses import Response, StreamingResponse

from app.api.deps import House, HouseDep, PagingDep, ReadSession, reply
from app.database.engine import Sessions
from app.infrastructure.storage import CHUNK, Storage
from app.schemas import AliasIn, AliasName, AliasOut, ModelName, ModelOut, Page, VersionNumber, VersionOut
from app.services.models import aliases
from app.services.models import versions as models
from app.services.models.aliases import Pointing

router = APIRouter(prefix="/v1/models", tags=["models"])

SPOOL_BYTES = 16 << 20  # an archive larger than this goes through a temporary file
LOAD_AHEAD_SECONDS = 1.0  # a move waits no longer for the predictors to be told


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
async def remove_version(
    name: str, number: VersionNumber, shared: HouseDep, later: BackgroundTasks
) -> Response:
    """Delete a version no alias names."""
    prefix = await asyncio.to_thread(_remove_version, shared.sessions, name, number)
    await shared.notices.tell(name)
    later.add_task(shared.storage.delete, prefix)
    return Response(status_code=204, background=later)


def _remove_version(sessions: Sessions, name: str, number: int) -> str:
    with sessions.begin() as session:
        return models.remove_version(session, name, number)


@router.get("/{name}/aliases", response_model=Page[AliasOut])
def find_aliases(name: str, session: ReadSession, at: PagingDep) -> Response:
    """A model's aliases in order of their names."""
    rows, cursor = at.page(aliases.find(session, name, at), "alias")
    data = [AliasOut.of(row) for row in rows]
    return reply(Page(data=data, has_more=cursor is not None, next_cursor=cursor))


@router.get("/{name}/aliases/{alias}", response_model=AliasOut)
def alias(name: str, alias: str, session: ReadSession) -> Response:
    """The versions that answer an alias, each with its share, and the one that shadows them."""
    return reply(AliasOut.of(aliases.get(session, name, alias)))


@router.put("/{name}/aliases/{alias}", response_model=AliasOut)
async def move_alias(name: ModelName, alias: AliasName, request: AliasIn, shared: HouseDep) -> Response:
    """Point an alias at a version, or at several by shares: in every process at once, nothing restarts."""
    pointing = Pointing.at(request)
    await _load_ahead(shared, name, pointing)
    moved = await asyncio.to_thread(_move_alias, shared.sessions, name, alias, pointing)
    await shared.notices.tell(name)
    return reply(moved)


async def _load_ahead(shared: House, name: str, pointing: Pointing) -> None:
    artifacts = await asyncio.to_thread(_artifacts, shared.readers, name, pointing)
    with suppress(TimeoutError):
        async with asyncio.timeout(LOAD_AHEAD_SECONDS):
            for artifact in artifacts:
                await shared.lane.prepare(artifact)


def _artifacts(readers: Sessions, name: str, pointing: Pointing) -> list[str]:
    with readers() as session:
        return aliases.artifacts(session, name, pointing)


def _move_alias(sessions: Sessions, name: str, alias: str, pointing: Pointing) -> AliasOut:
    with sessions.begin() as session:
        return AliasOut.of(aliases.move(session, name, alias, pointing))


@router.delete("/{name}/aliases/{alias}", status_code=204)
async def remove_alias(name: str, alias: str, shared: HouseDep) -> Response:
    """Delete an alias."""
    await asyncio.to_thread(_remove_alias, shared.sessions, name, alias)
    await shared.notices.tell(name)
    return Response(status_code=204)


def _remove_alias(sessions: Sessions, name: str, alias: str) -> None:
    with sessions.begin() as session:
        aliases.remove(session, name, alias)
