"""What a supervisor does about each kind of job, besides owning its child."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from app.db import Sessions
from app.errors import AppError
from app.services import batches, leases, models
from app.services.leases import Lease
from app.services.models import Outcome
from app.storage import Storage
from app.tables import Job, Json

CARDS = Path("/proc/driver/nvidia/gpus")  # as the driver tells them, without torch


class Unready(Exception):
    """A job cannot begin."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Assignment(Protocol):
    """One kind of work on one job."""

    module: str  # the child's program

    def prepare(self, directory: Path) -> Json:
        """Bring what the child needs; what to tell it. Raises `Unready`."""
        ...

    def take(self, message: Json) -> None:
        """Keep what a message of the child's says is there."""
        ...

    def finish(self, lease: Lease, message: Json) -> bool:
        """End the job with what was made; False when it was cancelled or taken away."""
        ...

    def discard(self) -> None:
        """Delete what was kept of a job that failed or was cancelled."""
        ...


class Training:
    """Makes a version of a model."""

    module: str = "workers.child"

    def __init__(self, sessions: Sessions, storage: Storage, device: str, job: Job) -> None:
        self._sessions, self._storage, self._device, self._job = sessions, storage, device, job
        self._out = Path()

    def prepare(self, directory: Path) -> Json:
        """See `Assignment`."""
        job, training = self._job, dict(self._job.training)
        self._out = directory / "out"
        self._out.mkdir()
        data = fetch_data(self._storage, job, directory)
        if training["device"] == "auto":
            training["device"] = self._device
        spec = {"task": job.task, "network": job.network, "training": training, "options": job.options}
        return {"spec": spec, "data_dir": str(data), "out_dir": str(self._out)}

    def take(self, message: Json) -> None:
        """Nothing is kept before the end."""

    def finish(self, lease: Lease, message: Json) -> bool:
        """Store the artifact and publish the version."""
        artifact = f"artifacts/{lease.job_id}/{lease.attempt}"
        files = sorted(path for path in self._out.iterdir() if path.is_file())
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.read_bytes())
            self._storage.put(f"{artifact}/{path.name}", path)
        outcome = Outcome(
            artifact=artifact,
            parameters=message["parameters"],
            bytes=sum(path.stat().st_size for path in files),
            sha256=digest.hexdigest(),
            metrics=message["metrics"],
            baseline=message["baseline"],
        )
        with self._sessions.begin() as session:
            version = leases.succeed(session, lease, outcome)
        if version is None:
            self._storage.delete(artifact)
        return version is not None

    def discard(self) -> None:
        """Nothing was kept."""


class BatchPrediction:
    """Predicts a data set; each part is stored as soon as it is whole, and later attempts go on after it."""

    MODULES: ClassVar[dict[str, str]] = {"cpu": "workers.batch_child", "cuda": "workers.batch_child_cuda"}

    def __init__(self, sessions: Sessions, storage: Storage, device: str, job: Job) -> None:
        self._sessions, self._storage, self._job = sessions, storage, job
        cards = CARDS.is_dir() and any(CARDS.iterdir())
        self._device = device if device != "auto" else "cuda:0" if cards else "cpu"
        self.module = self.MODULES[self._device.partition(":")[0]]
        self._out = Path()

    def prepare(self, directory: Path) -> Json:
        """See `Assignment`."""
        job = self._job
        self._out = directory / "out"
        self._out.mkdir()
        data, model = fetch_data(self._storage, job, directory), directory / "model"
        try:
            with self._sessions() as session:
                batches.sweep(session, self._storage)
                version = models.resolve(session, job.model, job.model_version, None)
            self._storage.fetch(version.artifact, model)
        except AppError:
            raise Unready("model_missing", "The model version was deleted before the job began") from None
        parts, failed = batches.done(self._storage, job.id)
        spec = {"task": job.task, "parameters": job.options["parameters"], "parts": parts, "failed": failed}
        places = {"data_dir": str(data), "model_dir": str(model), "out_dir": str(self._out)}
        return {"spec": spec, "device": self._device, **places}

    def take(self, message: Json) -> None:
        """Store a part; one that an earlier attempt stored too has the same name and content."""
        if message.get("type") == "checkpoint":
            path = self._out / message.pop("file")
            self._storage.put(batches.part_key(self._job.id, message["part"], message["missed"]), path)
            path.unlink()

    def finish(self, lease: Lease, message: Json) -> bool:
        """All parts are stored."""
        with self._sessions.begin() as session:
            return leases.complete(session, lease, message["metrics"])

    def discard(self) -> None:
        """Delete the parts."""
        self._storage.delete(batches.prefix(self._job.id))


def fetch_data(storage: Storage, job: Job, directory: Path) -> Path:
    """The job's data set as arrays below `directory`; raises `Unready`."""
    try:
        return storage.fetch(f"datasets/{job.dataset_id}/arrays", directory / "data")
    except AppError:
        raise Unready("dataset_missing", "The data set was deleted before the job began") from None


KINDS: dict[str, Callable[[Sessions, Storage, str, Job], Assignment]] = {
    "train": Training,
    batches.KIND: BatchPrediction,
}
