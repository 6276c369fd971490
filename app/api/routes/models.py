"""Models, their versions and aliases."""

import asyncio
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from fastapi import APIRouter, BackgroundTasks
from fastapi.responses import Response, StreamingResponse
from sqlalchemy.orm import Session

from app.api.access.declared import requires
from app.api.deps import (
    MAX_JSON_BYTES,
    AppState,
    PagingDep,
    ReadSession,
    StateDep,
    json_response,
    page_response,
)
from app.api.response_schemas import BINARY_CONTENT
from app.database.engine import Sessions
from app.database.tables import Model
from app.infrastructure import artifacts
from app.infrastructure.storage import CHUNK_BYTES, Storage
from app.schemas import (
    AliasIn,
    AliasName,
    AliasOut,
    GuardIn,
    ModelName,
    ModelOut,
    Page,
    VersionNumber,
    VersionOut,
)
from app.services.access.callers import Scope
from app.services.models import aliases
from app.services.models import versions as models
from app.services.models.aliases import AliasTarget
from app.thread_pools import MODEL_CHANGES

router = APIRouter(prefix="/v1/models", tags=["models"])

MAX_MEMORY_ZIP_BYTES = 16 << 20  # a larger archive goes through a temporary file
LOAD_AHEAD_SECONDS = 1.0  # the longest that a move waits for the message to the predictors


@router.get("", response_model=Page[ModelOut], operation_id="list_models")
@requires(Scope.READ)
def find(session: ReadSession, paging: PagingDep) -> Response:
    """All models."""
    rows = models.list_models(session, paging)
    return page_response(paging, rows, "id", lambda row: _represent(session, row))


def _represent(session: Session, row: Model) -> ModelOut:
    return ModelOut.of(row, models.list_aliases(session, row.name), models.latest_number(session, row.name))


@router.get("/{name}", response_model=ModelOut, operation_id="get_model")
@requires(Scope.READ)
def read(name: str, session: ReadSession) -> Response:
    """One model."""
    return json_response(_represent(session, models.get_model(session, name)))


@router.delete("/{name}", status_code=204, operation_id="delete_model")
@requires(Scope.TRAIN)
async def remove(name: str, shared: StateDep) -> Response:
    """Delete a model that has no version left: its name is then free, also for another task."""
    await MODEL_CHANGES.run(_remove, shared.sessions, name)
    await shared.notices.invalidate(name)
    return Response(status_code=204)


def _remove(sessions: Sessions, name: str) -> None:
    with sessions.begin() as session:
        models.remove_model(session, name)


@router.get("/{name}/versions", response_model=Page[VersionOut], operation_id="list_model_versions")
@requires(Scope.READ)
def versions(name: str, session: ReadSession, paging: PagingDep) -> Response:
    """A model's versions, newest first."""
    return page_response(paging, models.list_versions(session, name, paging), "version", VersionOut.of)


@router.get("/{name}/versions/{number}", response_model=VersionOut, operation_id="get_model_version")
@requires(Scope.READ)
def version(name: str, number: VersionNumber, session: ReadSession) -> Response:
    """One version with its metrics beside the baseline's."""
    return json_response(VersionOut.of(models.get_version(session, name, number)))


@router.get(
    "/{name}/versions/{number}/artifact",
    response_class=StreamingResponse,
    responses={200: {"description": "The files", "content": {"application/zip": BINARY_CONTENT}}},
    operation_id="download_model_artifact",
)
@requires(Scope.READ)
def artifact(name: str, number: VersionNumber, shared: StateDep) -> StreamingResponse:
    """The version's files as a zip: manifest, weights, and the ONNX graph."""
    with shared.readers() as session:
        row = models.get_version(session, name, number)
    artifacts.read_manifest(shared.storage, row.artifact, row.sha256)  # raises if a file was altered
    headers = {"Content-Disposition": f'attachment; filename="{name}-{number}.zip"'}
    return StreamingResponse(
        _zip_files(shared.storage, row.artifact), media_type="application/zip", headers=headers
    )


def _zip_files(storage: Storage, prefix: str) -> Iterator[bytes]:
    with tempfile.SpooledTemporaryFile(MAX_MEMORY_ZIP_BYTES) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # weights do not compress
            for key in storage.keys(prefix):
                with archive.open(str(PurePosixPath(key).relative_to(prefix)), "w") as member:
                    for chunk in storage.read(key):
                        member.write(chunk)
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


@router.delete("/{name}/versions/{number}", status_code=204, operation_id="delete_model_version")
@requires(Scope.TRAIN)
async def remove_version(
    name: str, number: VersionNumber, shared: StateDep, later: BackgroundTasks
) -> Response:
    """Delete a version that no alias points at."""
    prefix = await MODEL_CHANGES.run(_remove_version, shared.sessions, name, number)
    await shared.notices.invalidate(name)
    later.add_task(shared.storage.delete, prefix)
    return Response(status_code=204, background=later)


def _remove_version(sessions: Sessions, name: str, number: int) -> str:
    with sessions.begin() as session:
        return models.remove_version(session, name, number)


@router.get("/{name}/aliases", response_model=Page[AliasOut], operation_id="list_model_aliases")
@requires(Scope.READ)
def find_aliases(name: str, session: ReadSession, paging: PagingDep) -> Response:
    """A model's aliases, in the order of their names."""
    return page_response(paging, aliases.list_page(session, name, paging), "alias", AliasOut.of)


@router.get("/{name}/aliases/{alias}", response_model=AliasOut, operation_id="get_model_alias")
@requires(Scope.READ)
def alias(name: str, alias: str, session: ReadSession) -> Response:
    """The versions that answer an alias, each with its share, and the one that shadows them."""
    return json_response(AliasOut.of(aliases.get(session, name, alias)))


@router.put(
    "/{name}/aliases/{alias}",
    response_model=AliasOut,
    max_body_size=MAX_JSON_BYTES,
    operation_id="move_model_alias",
)
@requires(Scope.TRAIN)
async def move_alias(name: ModelName, alias: AliasName, request: AliasIn, shared: StateDep) -> Response:
    """Point an alias at a version, or at several by shares: in every process at once, nothing restarts.

    With a `guard` it moves only if the evaluation does not show the new version to be worse; else `409`.
    """
    target = AliasTarget.from_request(request)
    await _load_ahead(shared, name, target)
    moved = await MODEL_CHANGES.run(_move_alias, shared.sessions, name, alias, target, request.guard)
    await shared.notices.invalidate(name)
    return json_response(moved)


async def _load_ahead(shared: AppState, name: str, target: AliasTarget) -> None:
    artifacts = await MODEL_CHANGES.run(_artifacts, shared.readers, name, target)
    with suppress(TimeoutError):
        async with asyncio.timeout(LOAD_AHEAD_SECONDS):
            for artifact in artifacts:
                await shared.lane.preload(artifact)


def _artifacts(readers: Sessions, name: str, target: AliasTarget) -> list[str]:
    with readers() as session:
        return aliases.artifacts(session, name, target)


def _move_alias(
    sessions: Sessions, name: str, alias: str, target: AliasTarget, guard: GuardIn | None
) -> AliasOut:
    with sessions.begin() as session:
        return AliasOut.of(aliases.move(session, name, alias, target, guard))


@router.delete("/{name}/aliases/{alias}", status_code=204, operation_id="delete_model_alias")
@requires(Scope.TRAIN)
async def remove_alias(name: str, alias: str, shared: StateDep) -> Response:
    """Delete an alias."""
    await MODEL_CHANGES.run(_remove_alias, shared.sessions, name, alias)
    await shared.notices.invalidate(name)
    return Response(status_code=204)


def _remove_alias(sessions: Sessions, name: str, alias: str) -> None:
    with sessions.begin() as session:
        aliases.remove(session, name, alias)
