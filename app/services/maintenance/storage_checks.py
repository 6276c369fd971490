"""The checks of `recurra doctor` on the store: every named file is undamaged, and no other file is left."""

import hashlib
import tempfile
from pathlib import Path, PurePosixPath
from uuid import uuid4

import orjson
from sqlalchemy import select

from app.database.engine import Sessions
from app.database.tables import Job, ModelVersion
from app.errors import NotFound
from app.infrastructure.artifacts import ALTERED, digest_stored
from app.infrastructure.checkpoint_name import sha256_of
from app.infrastructure.storage import PROBES_ROOT, Storage
from app.services.jobs import checkpoints
from app.services.maintenance import cleanup
from app.services.maintenance.cleanup import FileGroup
from app.services.maintenance.database_checks import Check, CheckState
from app.states import LIVE


def store_checks(sessions: Sessions, storage: Storage, data_dir: Path) -> list[Check]:
    """Return the checks of the store and of local leftovers; no repair deletes what a version needs."""

    def orphans() -> list[FileGroup]:
        with sessions() as session:
            return cleanup.find_orphans(session, storage)

    def leftovers() -> list[Path]:
        with sessions() as session:
            return cleanup.find_leftovers(session, storage, data_dir)

    def foreign() -> list[str]:
        with sessions() as session:
            return cleanup.find_foreign(session, storage)

    def kept() -> list[str]:
        with sessions() as session:
            return [f"{group.prefix} ({group.bytes} bytes)" for group in cleanup.find_kept(session, storage)]

    return [
        Check("installation", "the store is this installation's", foreign),
        Check(
            "versions", "every version's files exist undamaged", lambda: damaged_versions(sessions, storage)
        ),
        Check(
            "checkpoints", "every checkpoint of a live job is undamaged",
            lambda: damaged_checkpoints(sessions, storage),
            lambda: delete_damaged_checkpoints(sessions, storage),
        ),
        Check(
            "orphans", "every file in the store belongs to a row",
            lambda: [f"{group.prefix} ({group.bytes} bytes)" for group in orphans()],
            lambda: cleanup.delete_groups(storage, orphans()),
        ),
        Check(
            "restored", "no file is newer than the copy that the database was restored from", kept,
            severity=CheckState.WARNING,
        ),
        Check(
            "leftovers", "no dead process left files on this machine",
            lambda: [str(path) for path in leftovers()], lambda: cleanup.delete_paths(leftovers()),
        ),
    ]  # fmt: skip


def check_writable(storage: Storage) -> list[str]:
    """Put, read and delete a small file; return the faults. What the store raises is passed on."""
    key, content = f"{PROBES_ROOT}/{uuid4().hex}", uuid4().bytes
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        storage.put(key, Path(file.name))
    try:
        same = b"".join(storage.read(key)) == content
    finally:
        storage.delete_file(key)
    return [] if same else ["what is read is not what was written"]


def damaged_versions(sessions: Sessions, storage: Storage) -> list[str]:
    """Return a sentence for each version with a file that is missing, or not what manifest and row say."""
    query = select(ModelVersion.model, ModelVersion.version, ModelVersion.artifact, ModelVersion.sha256)
    with sessions() as session:
        rows = session.execute(query.order_by(ModelVersion.model, ModelVersion.version)).all()
    faults = {
        row.artifact: (row, fault)
        for row in rows
        if (fault := _artifact_fault(storage, row.artifact, row.sha256))
    }
    with sessions() as session:  # the files of a version deleted meanwhile are rightly gone
        existing = set(session.scalars(select(ModelVersion.artifact))) if faults else set()
    return [
        f"{row.model}/{row.version}: {fault}"
        for artifact, (row, fault) in faults.items()
        if artifact in existing
    ]


def _artifact_fault(storage: Storage, artifact: str, sha256: str) -> str | None:
    try:
        manifest = orjson.loads(b"".join(storage.read(f"{artifact}/manifest.json")))
        digests = {name: facts["sha256"] for name, facts in manifest["files"].items()}
    except NotFound:
        return "manifest.json is missing"
    except (ValueError, LookupError, TypeError, AttributeError):
        return "manifest.json is not a manifest"
    for name, expected in digests.items():
        try:
            if _sha256(storage, f"{artifact}/{name}") != expected:
                return f"{name} does not match its sha256"
        except NotFound:
            return f"{name} is missing"
    if digest_stored(storage, artifact) != sha256:
        return f"{ALTERED}: manifest.json and files agree, but not with the database's sha256"
    return None


def _sha256(storage: Storage, key: str) -> str:
    digest = hashlib.sha256()
    for chunk in storage.read(key):
        digest.update(chunk)
    return digest.hexdigest()


def damaged_checkpoints(sessions: Sessions, storage: Storage) -> list[str]:
    """Return the keys of checkpoints that live jobs could not resume from."""
    job_ids = storage.directories(checkpoints.CHECKPOINTS_ROOT)
    with sessions() as session:
        live = set(session.scalars(select(Job.id).where(Job.status.in_(LIVE)))) if job_ids else set()
    return [
        key
        for job_id in job_ids
        if job_id in live
        for key in checkpoints.newest_first(storage, job_id)
        if not _is_intact(storage, key)
    ]


def _is_intact(storage: Storage, key: str) -> bool:
    try:
        return _sha256(storage, key) == sha256_of(PurePosixPath(key).name)
    except NotFound:  # deleted meanwhile, since a newer one was stored
        return True


def delete_damaged_checkpoints(sessions: Sessions, storage: Storage) -> None:
    """Delete the damaged checkpoints of each job that has an undamaged one.

    A job's last checkpoint is left to be inspected, damaged or not.
    """
    damaged = set(damaged_checkpoints(sessions, storage))
    for job_id in {PurePosixPath(key).parts[1] for key in damaged}:
        keys = set(checkpoints.newest_first(storage, job_id))
        if keys - damaged:
            for key in keys & damaged:
                storage.delete_file(key)
