"""What `recurra doctor` looks at in the store: what rows name is there and whole, and nothing else is."""

import hashlib
import tempfile
from pathlib import Path, PurePosixPath
from uuid import uuid4

import orjson
from sqlalchemy import select

from app.database.engine import Sessions
from app.database.tables import Job, ModelVersion
from app.errors import NotFound
from app.infrastructure.checkpoint_name import sha256_of
from app.infrastructure.storage import PROBES, Storage
from app.services.jobs import checkpoints
from app.services.maintenance import cleanup
from app.services.maintenance.cleanup import Place
from app.services.maintenance.database_checks import Checkup
from app.states import LIVE


def of_store(sessions: Sessions, storage: Storage, data_dir: Path) -> list[Checkup]:
    """Everything the store is looked at for; what a version needs is never deleted."""

    def orphans() -> list[Place]:
        with sessions() as session:
            return cleanup.orphans(session, storage)

    def leftovers() -> list[Path]:
        with sessions() as session:
            return cleanup.leftovers(session, storage, data_dir)

    return [
        Checkup("versions", "every version's files are there and whole", lambda: broken(sessions, storage)),
        Checkup(
            "checkpoints", "every checkpoint of a live job is whole",
            lambda: damaged(sessions, storage), lambda: drop_damaged(sessions, storage),
        ),
        Checkup(
            "orphans", "every file in the store is somebody's",
            lambda: [f"{place.name} ({place.bytes} bytes)" for place in orphans()],
            lambda: cleanup.remove(storage, orphans()),
        ),
        Checkup(
            "leftovers", "no dead process left anything on this machine",
            lambda: [str(path) for path in leftovers()], lambda: cleanup.discard(leftovers()),
        ),
    ]  # fmt: skip


def unwritable(storage: Storage) -> list[str]:
    """What is wrong when a small file is put, read back and deleted."""
    key, content = f"{PROBES}/{uuid4().hex}", uuid4().bytes
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        storage.put(key, Path(file.name))
    try:
        same = b"".join(storage.read(key)) == content
    finally:
        storage.delete_file(key)
    return [] if same else ["what is read is not what was written"]


def broken(sessions: Sessions, storage: Storage) -> list[str]:
    """Versions with a file that is missing or differs from what the manifest says."""
    query = select(ModelVersion.model, ModelVersion.version, ModelVersion.artifact)
    with sessions() as session:
        rows = session.execute(query.order_by(ModelVersion.model, ModelVersion.version)).all()
    faults = {row.artifact: (row, fault) for row in rows if (fault := _fault(storage, row.artifact))}
    with sessions() as session:  # a version deleted meanwhile has lost its files rightly
        there = set(session.scalars(select(ModelVersion.artifact))) if faults else set()
    return [
        f"{row.model}/{row.version}: {fault}"
        for artifact, (row, fault) in faults.items()
        if artifact in there
    ]


def _fault(storage: Storage, artifact: str) -> str | None:
    try:
        manifest = orjson.loads(b"".join(storage.read(f"{artifact}/manifest.json")))
        told = {name: facts["sha256"] for name, facts in manifest["files"].items()}
    except NotFound:
        return "manifest.json is missing"
    except (ValueError, LookupError, TypeError, AttributeError):
        return "manifest.json is not a manifest"
    for name, sha256 in told.items():
        try:
            if _sha256(storage, f"{artifact}/{name}") != sha256:
                return f"{name} does not match its sha256"
        except NotFound:
            return f"{name} is missing"
    return None


def _sha256(storage: Storage, key: str) -> str:
    digest = hashlib.sha256()
    for piece in storage.read(key):
        digest.update(piece)
    return digest.hexdigest()


def damaged(sessions: Sessions, storage: Storage) -> list[str]:
    """Keys of checkpoints that live jobs could not go on from."""
    found = storage.directories(checkpoints.CHECKPOINTS)
    with sessions() as session:
        live = set(session.scalars(select(Job.id).where(Job.status.in_(LIVE)))) if found else set()
    return [
        key
        for job_id in found
        if job_id in live
        for key in checkpoints.newest(storage, job_id)
        if not _whole(storage, key)
    ]


def _whole(storage: Storage, key: str) -> bool:
    try:
        return _sha256(storage, key) == sha256_of(PurePosixPath(key).name)
    except NotFound:  # a newer one has taken its place
        return True


def drop_damaged(sessions: Sessions, storage: Storage) -> None:
    """Delete a damaged checkpoint where the job has a whole one; the last is left for somebody to look at."""
    bad = set(damaged(sessions, storage))
    for job_id in {PurePosixPath(key).parts[1] for key in bad}:
        keys = set(checkpoints.newest(storage, job_id))
        if keys - bad:
            for key in keys & bad:
                storage.delete_file(key)
