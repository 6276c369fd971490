"""What a supervisor does about each kind of job, besides owning its child."""

import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import ClassVar, Protocol

from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Job
from app.errors import NoSpace, NotFound
from app.infrastructure.checkpoint_name import Damaged, check, step_of
from app.infrastructure.storage import Storage
from app.services.jobs import batch_predictions, checkpoints, leases, submission
from app.services.jobs.leases import Lease
from app.services.models import versions
from app.services.models.versions import Outcome
from app.states import Status
from app.typedefs import Json

CARDS = Path("/proc/driver/nvidia/gpus")  # as the driver tells them, without torch


class Unready(Exception):
    """A job cannot begin."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Assignment(Protocol):
    """One kind of work on one job."""

    module: str  # the child's program

    def prepare(self, directory: Path, note: Callable[[Json], None]) -> Json:
        """Bring what the child needs; what to tell it. Raises `Unready`. `note` tells the job's owner."""
        ...

    def take(self, message: Json) -> Json:
        """Keep what a message of the child's says is there; what to tell the job's owner."""
        ...

    def finish(self, lease: Lease, message: Json) -> Callable[[Session], bool]:
        """Store what was made; what ends the job, and is False when it was cancelled or taken away."""
        ...

    def discard(self, status: str | None) -> None:
        """Delete what a job that has ended so does not need; None for one that is deleted already."""
        ...


class Training:
    """Makes a version of a model, or a run of a sweep; a later attempt goes on from the newest checkpoint."""

    module: str = "workers.training.child"

    def __init__(self, sessions: Sessions, storage: Storage, device: str, job: Job) -> None:
        self._sessions, self._storage, self._device, self._job = sessions, storage, device, job
        self._lease = Lease(job.id, job.attempt)
        self._out, self._checkpoints = Path(), Path()

    def prepare(self, directory: Path, note: Callable[[Json], None]) -> Json:
        """See `Assignment`."""
        job, training = self._job, dict(self._job.training)
        self._out, self._checkpoints = directory / "out", directory / "checkpoints"
        self._out.mkdir()
        data = fetch_data(self._storage, job, directory)
        resume = self._newest(directory / "resume", note)
        if training["device"] == "auto":
            training["device"] = self._device
        spec = {"task": job.task, "network": job.network, "training": training, "options": job.options}
        return {
            "spec": spec,
            "data_dir": str(data),
            "out_dir": str(self._out),
            "checkpoint_dir": str(self._checkpoints),
            "resume": None if resume is None else str(resume),
            "told": self._told(),
        }

    def _told(self) -> tuple[int, int]:
        """Stage and number of the last epoch that an earlier attempt told of."""
        with self._sessions() as session:
            epochs = submission.curves(session, self._job.id)
        return (epochs[-1].get("stage", 0), epochs[-1]["epoch"]) if epochs else (0, 0)

    def _newest(self, directory: Path, note: Callable[[Json], None]) -> Path | None:
        """The furthest checkpoint that is whole."""
        directory.mkdir()
        for key in checkpoints.newest(self._storage, self._job.id):
            path = directory / PurePosixPath(key).name
            try:
                self._storage.fetch_file(key, path)
                check(path)
            except (Damaged, NotFound) as error:
                note({"type": "warning", "message": f"A checkpoint was passed over: {error}"})
            else:
                note({"type": "log", "message": f"Goes on after step {step_of(path.name)}"})
                return path
        return None

    def take(self, message: Json) -> Json:
        """Store a checkpoint; without room for it the training goes on all the same."""
        if message.get("type") != "checkpoint":
            return message
        path = self._checkpoints / message.pop("file")
        try:
            checkpoints.keep(self._storage, self._lease, path)
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            why = "the artifact store is full" if isinstance(error, NoSpace) else str(error)[:200]
            return {"type": "warning", "message": f"A checkpoint could not be stored: {why}"}
        finally:
            path.unlink(missing_ok=True)
        return message

    def finish(self, lease: Lease, message: Json) -> Callable[[Session], bool]:
        """Store the artifact; the version is published with the job's end, or with its sweep's."""
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
        if self._job.sweep_id is not None:
            return lambda session: leases.complete(session, lease, outcome.metrics, outcome)
        return lambda session: leases.succeed(session, lease, outcome) is not None

    def discard(self, status: str | None) -> None:
        """Checkpoints always; artifacts unless a version may name them, which outlives its job."""
        self._storage.delete(checkpoints.prefix(self._job.id))
        if status in {Status.FAILED, Status.CANCELLED}:
            self._storage.delete(f"artifacts/{self._job.id}")


class BatchPrediction:
    """Predicts a data set; each part is stored as soon as it is whole, and later attempts go on after it."""

    MODULES: ClassVar[dict[str, str]] = {"cpu": "workers.batch.child", "cuda": "workers.batch.child_cuda"}

    def __init__(self, sessions: Sessions, storage: Storage, device: str, job: Job) -> None:
        self._sessions, self._storage, self._job = sessions, storage, job
        cards = CARDS.is_dir() and any(CARDS.iterdir())
        self._device = device if device != "auto" else "cuda:0" if cards else "cpu"
        self.module = self.MODULES[self._device.partition(":")[0]]
        self._out = Path()

    def prepare(self, directory: Path, note: Callable[[Json], None]) -> Json:
        """See `Assignment`."""
        del note
        job = self._job
        self._out = directory / "out"
        self._out.mkdir()
        data, model = fetch_data(self._storage, job, directory), directory / "model"
        try:
            with self._sessions() as session:
                version = versions.resolve(session, job.model, job.model_version, None)
            self._storage.fetch(version.artifact, model)
        except NotFound:
            raise Unready("model_missing", "The model version was deleted before the job began") from None
        parts, failed = batch_predictions.done(self._storage, job.id)
        spec = {"task": job.task, "parameters": job.options["parameters"], "parts": parts, "failed": failed}
        places = {"data_dir": str(data), "model_dir": str(model), "out_dir": str(self._out)}
        return {"spec": spec, "device": self._device, **places}

    def take(self, message: Json) -> Json:
        """Store a part; one that an earlier attempt stored too has the same name and content."""
        if message.get("type") == "checkpoint":
            path = self._out / message.pop("file")
            self._storage.put(
                batch_predictions.part_key(self._job.id, message["part"], message["missed"]), path
            )
            path.unlink()
        return message

    def finish(self, lease: Lease, message: Json) -> Callable[[Session], bool]:
        """All parts are stored."""
        return lambda session: leases.complete(session, lease, message["metrics"])

    def discard(self, status: str | None) -> None:
        """The parts, unless they are the result."""
        if status != Status.SUCCEEDED:
            self._storage.delete(batch_predictions.prefix(self._job.id))


def fetch_data(storage: Storage, job: Job, directory: Path) -> Path:
    """The job's data set as arrays below `directory`; raises `Unready`."""
    try:
        return storage.fetch(f"datasets/{job.dataset_id}/arrays", directory / "data")
    except NotFound:
        raise Unready("dataset_missing", "The data set was deleted before the job began") from None


KINDS: dict[str, Callable[[Sessions, Storage, str, Job], Assignment]] = {
    "train": Training,
    batch_predictions.KIND: BatchPrediction,
}
