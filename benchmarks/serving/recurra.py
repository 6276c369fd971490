"""Recurra's own data directory with the benchmark's network as a version, ready for `recurra up`."""

from pathlib import Path

from app.database.engine import make_engine, make_sessions
from app.database.migrate import upgrade
from app.database.tables import Job
from app.identifiers import new_id
from app.infrastructure.artifacts import digest_stored
from app.infrastructure.storage import Storage
from app.services.jobs import leases
from app.services.jobs.leases import Lease
from app.services.models.versions import TrainingOutcome
from app.settings import Settings

MODEL = "lstm"
PARAMETERS = 19_456


def publish(data_dir: Path, artifact: Path, task: str = "forecasting", model: str = MODEL) -> None:
    """Store the artifact's files, and the rows that a finished job leaves."""
    settings = Settings(data_dir=data_dir, database_url="", redis_url="", storage_url="")
    data_dir.mkdir(parents=True, mode=0o700)
    engine = make_engine(settings.database)
    upgrade(engine)
    job = Job(
        id=new_id("job"),
        kind="train",
        task=task,
        dataset_id=new_id("ds"),
        model=model,
        network={"cell": "lstm", "hidden_size": 64, "layers": 1},
        training={},
        options={"horizon": 8},
        job_metadata={},
    )
    with make_sessions(engine).begin() as session:
        session.add(job)
        session.flush()
        leases.claim(session, job.id, "benchmark", 60)
        lease = Lease(job.id, 1)
        prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
        storage, size = Storage(settings.storage), 0
        for path in sorted(artifact.iterdir()):
            storage.put(f"{prefix}/{path.name}", path)
            size += path.stat().st_size
        digest = digest_stored(storage, prefix)
        leases.succeed(session, lease, TrainingOutcome(prefix, PARAMETERS, size, digest, {}, {}))
    engine.dispose()
