"""What the supervisor does for each kind of job, besides supervising its child process."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar, Protocol

from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.projects import enter_project
from app.database.tables import Dataset, Job
from app.errors import NoSpace, NotFound
from app.infrastructure.artifacts import digest_files
from app.infrastructure.checkpoint_name import CheckpointDamaged, step_of, verify_checkpoint
from app.infrastructure.storage import Storage
from app.services.jobs import batch_predictions, checkpoints, devices, leases, queries
from app.services.jobs.leases import Lease
from app.services.models import versions
from app.services.models.versions import TrainingOutcome
from app.states import EVALUATE, Status
from app.typedefs import Json


class PrerequisiteMissing(Exception):
    """A job cannot begin: its data set or model version was deleted."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Assignment(Protocol):
    """One job of one kind."""

    module: str  # the child's program
    is_forked: bool  # whether a fork server launches it, which imports all of these modules
    preloaded_before: Sequence[str]  # the first child is forked
    preloaded_beside: Sequence[str]  # the first child, as not all need them, or late

    def prepare(self, directory: Path, report: Callable[[Json], None]) -> Json:
        """Download the inputs into `directory` and return the child's request; raises `PrerequisiteMissing`.

        `report` appends an event to the job.
        """
        ...

    def on_message(self, message: Json) -> Json:
        """Store the file that a child's message announces, if any; return the message to report."""
        ...

    def finish(self, lease: Lease, message: Json) -> Callable[[Session], bool]:
        """Store the result and return what ends the job; that returns False when it may not end so.

        It may not when the job was cancelled or the lease lost.
        """
        ...

    def discard(self, status: str | None) -> None:
        """Delete the stored files that a job with this final status does not need; None: its row is gone."""
        ...


class TrainingJob:
    """Trains a model version, or a run of a sweep; later attempts resume from the newest checkpoint."""

    module: str = "workers.training.child"
    preloaded_before: Sequence[str] = ("torch._dynamo", "torch._inductor.config")  # an optimizer imports them
    preloaded_beside: Sequence[str] = ("sklearn.metrics",)  # the evaluation of some tasks imports it

    def __init__(self, sessions: Sessions, storage: Storage, worker_devices: Sequence[str], job: Job) -> None:
        self._sessions, self._storage, self._job = sessions, storage, job
        self._device = devices.choose(job.training["device"], worker_devices)
        self.is_forked = self._device == devices.CPU
        self._lease = Lease(job.id, job.attempt)
        self._out, self._checkpoints = Path(), Path()

    def prepare(self, directory: Path, report: Callable[[Json], None]) -> Json:
        """See `Assignment`."""
        job, training = self._job, dict(self._job.training)
        self._out, self._checkpoints = directory / "out", directory / "checkpoints"
        self._out.mkdir()
        data = fetch_data(self._storage, job, directory)
        resume = self._fetch_checkpoint(directory / "resume", report)
        training["device"] = self._device
        spec = {"task": job.task, "network": job.network, "training": training, "options": job.options}
        return {
            "spec": spec | {"columns": self._columns()},
            "data_dir": str(data),
            "out_dir": str(self._out),
            "checkpoint_dir": str(self._checkpoints),
            "resume": None if resume is None else str(resume),
            "last_epoch": self._last_epoch(),
        }

    def _columns(self) -> Json:
        """Return the names that the upload had for the task's columns: requests may use them too."""
        with self._sessions() as session:
            dataset = session.get(Dataset, self._job.dataset_id)
            columns: Json = {} if dataset is None else dataset.summary.get("columns", {})
        return columns

    def _last_epoch(self) -> tuple[int, int]:
        """Return stage and number of the last epoch that an earlier attempt reported; (0, 0) if none."""
        with self._sessions() as session:
            epochs = queries.learning_curves(session, self._job.id)
        return (epochs[-1].get("stage", 0), epochs[-1]["epoch"]) if epochs else (0, 0)

    def _fetch_checkpoint(self, directory: Path, report: Callable[[Json], None]) -> Path | None:
        """Download the newest checkpoint that is undamaged; None when there is none."""
        directory.mkdir()
        for key in checkpoints.newest_first(self._storage, self._job.id):
            path = directory / PurePosixPath(key).name
            try:
                self._storage.fetch_file(key, path)
                verify_checkpoint(path)
            except (CheckpointDamaged, NotFound) as error:
                report({"type": "warning", "message": f"Skipped a checkpoint: {error}"})
            else:
                report(
                    {"type": "log", "message": f"Resumed from the checkpoint at step {step_of(path.name)}"}
                )
                return path
        return None

    def on_message(self, message: Json) -> Json:
        """Store a checkpoint; without room for it the training continues nevertheless."""
        if message.get("type") != "checkpoint":
            return message
        path = self._checkpoints / message.pop("file")
        try:
            checkpoints.store(self._storage, self._lease, path)
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            reason = "the artifact store is full" if isinstance(error, NoSpace) else str(error)[:200]
            return {"type": "warning", "message": f"A checkpoint could not be stored: {reason}"}
        finally:
            path.unlink(missing_ok=True)
        return message

    def finish(self, lease: Lease, message: Json) -> Callable[[Session], bool]:
        """Store the artifact; its version is published when the job ends, or its sweep."""
        artifact = f"artifacts/{lease.job_id}/{lease.attempt}"
        files = sorted(path for path in self._out.iterdir() if path.is_file())
        for path in files:
            self._storage.put(f"{artifact}/{path.name}", path)
        outcome = TrainingOutcome(
            artifact=artifact,
            parameters=message["parameters"],
            bytes=sum(path.stat().st_size for path in files),
            sha256=digest_files(files),
            metrics=message["metrics"],
            baseline=message["baseline"],
        )
        if self._job.sweep_id is not None:
            return lambda session: leases.complete(session, lease, outcome.metrics, outcome)
        return lambda session: leases.succeed(session, lease, outcome) is not None

    def discard(self, status: str | None) -> None:
        """Delete the checkpoints, and the artifacts unless a version may name them: versions outlive jobs."""
        self._storage.delete(checkpoints.prefix(self._job.id))
        if status in {Status.FAILED, Status.CANCELLED}:
            self._storage.delete(f"artifacts/{self._job.id}")


class BatchPredictionJob:
    """Predicts a data set in parts; each is stored when it is complete, and later attempts go on after it."""

    is_forked: bool = False
    preloaded_before: Sequence[str] = ()
    preloaded_beside: Sequence[str] = ()
    MODULES: ClassVar[dict[str, str]] = {"cpu": "workers.batch.child", "cuda": "workers.batch.child_cuda"}

    def __init__(self, sessions: Sessions, storage: Storage, worker_devices: Sequence[str], job: Job) -> None:
        self._sessions, self._storage, self._job = sessions, storage, job
        self._device = worker_devices[0]
        self.module = self.MODULES[self._device.partition(":")[0]]
        self._out = Path()

    def prepare(self, directory: Path, report: Callable[[Json], None]) -> Json:
        """See `Assignment`."""
        del report
        job = self._job
        self._out = directory / "out"
        self._out.mkdir()
        data, model = fetch_data(self._storage, job, directory), directory / "model"
        try:
            with self._sessions() as session:
                enter_project(session, job.project)
                version = versions.resolve_version(session, job.model, job.model_version, None)
            self._storage.fetch(version.artifact, model)
        except NotFound:
            message = "The model version was deleted before the job began"
            raise PrerequisiteMissing("model_missing", message) from None
        parts, failed = batch_predictions.stored_parts(self._storage, job.id)
        spec = {"task": job.task, "parameters": job.options["parameters"], "parts": parts, "failed": failed}
        directories = {"data_dir": str(data), "model_dir": str(model), "out_dir": str(self._out)}
        return {"spec": spec, "device": self._device, "sha256": version.sha256, **directories}

    def on_message(self, message: Json) -> Json:
        """Store a part; if an earlier attempt stored it too, name and content are the same."""
        return store_part(self._storage, self._job.id, self._out, message)

    def finish(self, lease: Lease, message: Json) -> Callable[[Session], bool]:
        """Return what ends the job: all parts are stored already."""
        return lambda session: leases.complete(session, lease, message["metrics"])

    def discard(self, status: str | None) -> None:
        """Delete the parts unless they are the job's result."""
        discard_parts(self._storage, self._job.id, status)


class EvaluationJob:
    """Compares versions in parts; each is stored when it is complete, and later attempts go on after it."""

    is_forked: bool = False
    preloaded_before: Sequence[str] = ()
    preloaded_beside: Sequence[str] = ()
    MODULES: ClassVar[dict[str, str]] = {
        "cpu": "workers.evaluation.child",
        "cuda": "workers.evaluation.child_cuda",
    }
    REFITTING: ClassVar[str] = "workers.evaluation.child_refit"

    def __init__(self, sessions: Sessions, storage: Storage, worker_devices: Sequence[str], job: Job) -> None:
        self._sessions, self._storage, self._job = sessions, storage, job
        self._device = worker_devices[0]
        kind = self._device.partition(":")[0]
        self.module = self.REFITTING if job.options["refit"] else self.MODULES[kind]
        self._out = Path()

    def prepare(self, directory: Path, report: Callable[[Json], None]) -> Json:
        """See `Assignment`."""
        del report
        job, options = self._job, self._job.options
        self._out, stored = directory / "out", directory / "stored"
        self._out.mkdir()
        stored.mkdir()
        data, reference = fetch_data(self._storage, job, directory), options["training_dataset"]
        training = None
        if reference == job.dataset_id:
            training = data
        elif reference is not None:
            training = fetch_arrays(self._storage, reference, directory / "training")
        evaluated = [self._fetch_version(number, directory) for number in options["versions"]]
        parts = self._fetch_parts(stored)
        directories = {"data": data, "training": training, "stored": stored, "out": self._out}
        return {
            "spec": {"task": job.task, "options": options, "parts": parts},
            "versions": evaluated,
            "device": self._device,
            "directories": {name: None if path is None else str(path) for name, path in directories.items()},
        }

    def _fetch_version(self, number: int, directory: Path) -> Json:
        """Download a version's files; where they are, and whether it was trained on the job's data set."""
        target = directory / f"version-{number}"
        try:
            with self._sessions() as session:
                enter_project(session, self._job.project)
                version = versions.get_version(session, self._job.model, number)
            self._storage.fetch(version.artifact, target)
        except NotFound:
            message = f"The model version {number} was deleted before the job began"
            raise PrerequisiteMissing("model_missing", message) from None
        known = version.dataset_id == self._job.dataset_id
        return {"number": number, "directory": str(target), "sha256": version.sha256, "is_known": known}

    def _fetch_parts(self, directory: Path) -> int:
        """Download the parts that are stored without a gap; how many they are."""
        parts, _ = batch_predictions.stored_parts(self._storage, self._job.id)
        for part, key in enumerate(
            self._storage.keys(batch_predictions.results_prefix(self._job.id))[:parts]
        ):
            self._storage.fetch_file(key, directory / f"{part:08d}.jsonl")
        return parts

    def on_message(self, message: Json) -> Json:
        """Store a part; if an earlier attempt stored it too, name and content are the same."""
        return store_part(self._storage, self._job.id, self._out, message)

    def finish(self, lease: Lease, message: Json) -> Callable[[Session], bool]:
        """Return what ends the job: all parts are stored already."""
        return lambda session: leases.complete(session, lease, message["metrics"])

    def discard(self, status: str | None) -> None:
        """Delete the parts unless they are the job's result."""
        discard_parts(self._storage, self._job.id, status)


def store_part(storage: Storage, job_id: str, directory: Path, message: Json) -> Json:
    """Store the part of a result that a message announces, if any; return the message to report."""
    if message.get("type") == "checkpoint":
        path = directory / message.pop("file")
        storage.put(batch_predictions.part_key(job_id, message["part"], message["missed"]), path)
        path.unlink()
    return message


def discard_parts(storage: Storage, job_id: str, status: str | None) -> None:
    """Delete the parts of a result unless the job has succeeded."""
    if status != Status.SUCCEEDED:
        storage.delete(batch_predictions.results_prefix(job_id))


def fetch_data(storage: Storage, job: Job, directory: Path) -> Path:
    """Download the arrays of the job's data set and return their directory; raises `PrerequisiteMissing`."""
    return fetch_arrays(storage, job.dataset_id, directory / "data")


def fetch_arrays(storage: Storage, dataset_id: str, directory: Path) -> Path:
    """Download the arrays of a data set and return their directory; raises `PrerequisiteMissing`."""
    try:
        return storage.fetch(f"datasets/{dataset_id}/arrays", directory)
    except NotFound:
        message = f"The data set {dataset_id} was deleted before the job began"
        raise PrerequisiteMissing("dataset_missing", message) from None


JOB_KINDS: dict[str, Callable[[Sessions, Storage, Sequence[str], Job], Assignment]] = {
    "train": TrainingJob,
    batch_predictions.BATCH_PREDICT: BatchPredictionJob,
    EVALUATE: EvaluationJob,
}
