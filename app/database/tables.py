"""The database tables. Times are seconds since 1970 by the database's clock; JSON columns hold plain JSON."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.database.engine import Base, db_now
from app.database.projects import Owned, OwnedByName
from app.states import Status
from app.typedefs import Json

ID = String(40)
NAME = String(128)


def _of_model() -> ForeignKeyConstraint:
    """A version or alias goes with its model."""
    return ForeignKeyConstraint(["project", "model"], ["models.project", "models.name"], ondelete="CASCADE")


class Dataset(Owned, Base):
    """An uploaded file that was parsed without a fault."""

    __tablename__ = "datasets"
    __table_args__ = (Index("ix_datasets_project_id", "project", "id"), Index("ix_datasets_key_id", "key_id"))

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    task: Mapped[str] = mapped_column(String(32))
    format: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    filename: Mapped[str] = mapped_column(String(255))
    summary: Mapped[Json] = mapped_column(JSON)
    warnings: Mapped[list[str]] = mapped_column(JSON)
    key_id: Mapped[str | None] = mapped_column(ID)  # of the key that uploaded it
    created_at: Mapped[float] = mapped_column(Double, server_default=db_now())


class Job(Owned, Base):
    """A job. Its row is the truth about it; messages only announce it."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_status_id", "status", "id"),
        Index("ix_jobs_dataset_id", "dataset_id"),
        Index("ix_jobs_model", "model"),
        Index("ix_jobs_sweep_id", "sweep_id"),
        Index("ix_jobs_project_id", "project", "id"),
        Index("ix_jobs_status_project", "status", "project"),
        Index("ix_jobs_project_started_at", "project", "started_at"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    task: Mapped[str] = mapped_column(String(32))
    dataset_id: Mapped[str] = mapped_column(ID)  # no foreign key: a finished job outlives its data set
    model: Mapped[str] = mapped_column(NAME)
    network: Mapped[Json] = mapped_column(JSON)
    training: Mapped[Json] = mapped_column(JSON)
    options: Mapped[Json] = mapped_column(JSON)
    job_metadata: Mapped[Json] = mapped_column("metadata", JSON)

    status: Mapped[str] = mapped_column(String(16), default=Status.QUEUED)
    revision: Mapped[int] = mapped_column(
        Integer, default=1
    )  # grows with every visible change; used as the ETag
    events: Mapped[int] = mapped_column(Integer, default=0)  # sequence number of the newest event
    attempt: Mapped[int] = mapped_column(Integer, default=0)  # the fencing token
    crashes: Mapped[int] = mapped_column(Integer, default=0)  # of its workers or child processes
    failures: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # worth another attempt
    stored_steps: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # in checkpoints
    excused_crashes: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # before the newest
    due_at: Mapped[float | None] = mapped_column(Double)  # not to be claimed earlier
    owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float | None] = mapped_column(Double)
    dispatched_at: Mapped[float | None] = mapped_column(Double)
    cancel_requested_at: Mapped[float | None] = mapped_column(Double)
    pause_requested_at: Mapped[float | None] = mapped_column(Double)

    progress: Mapped[Json | None] = mapped_column(JSON)
    metrics: Mapped[Json | None] = mapped_column(JSON)
    model_version: Mapped[int | None] = mapped_column(Integer)  # made by it, or used by a batch prediction
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    search: Mapped[Json | None] = mapped_column(JSON)  # of a sweep: the search space and strategy
    sweep_id: Mapped[str | None] = mapped_column(ID)  # of a run: the sweep it belongs to
    trial: Mapped[Json | None] = mapped_column(JSON)  # of a run: the trial's number, parameters and seed
    outcome: Mapped[Json | None] = mapped_column(JSON)  # of a run: its `TrainingOutcome`
    key_id: Mapped[str | None] = mapped_column(ID)  # of the key that submitted it
    priority: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # within its project
    created_at: Mapped[float] = mapped_column(Double, server_default=db_now())
    updated_at: Mapped[float] = mapped_column(Double, server_default=db_now())
    started_at: Mapped[float | None] = mapped_column(Double)
    finished_at: Mapped[float | None] = mapped_column(Double)


class JobEvent(Base):
    """An entry of a job's history, numbered from 1."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(String(16))
    at: Mapped[float] = mapped_column(Double, server_default=db_now())
    data: Mapped[Json] = mapped_column(JSON)


class JobLogLine(Base):
    """A line that the process of a job wrote, numbered from 1; the oldest of many are deleted."""

    __tablename__ = "job_log_lines"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(Integer)
    at: Mapped[float] = mapped_column(Double)  # by the worker's clock
    level: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)


class JobVersion(Base):
    """A version that a job evaluates; of other kinds the job's own row names the version."""

    __tablename__ = "job_versions"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)


class Model(OwnedByName, Base):
    """A name under which versions are published, unique within its project."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    id: Mapped[str] = mapped_column(ID, unique=True)  # sorts by creation time
    task: Mapped[str] = mapped_column(String(32))
    versions: Mapped[int] = mapped_column(Integer, default=0)  # the highest version number ever given
    created_at: Mapped[float] = mapped_column(Double, server_default=db_now())


class ModelVersion(OwnedByName, Base):
    """A version of a model, made by one job; a job makes at most one."""

    __tablename__ = "model_versions"
    __table_args__ = (_of_model(),)

    model: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    job_id: Mapped[str] = mapped_column(ID, unique=True)
    dataset_id: Mapped[str] = mapped_column(ID)
    task: Mapped[str] = mapped_column(String(32))
    network: Mapped[Json] = mapped_column(JSON)
    options: Mapped[Json] = mapped_column(JSON)
    parameters: Mapped[int] = mapped_column(BigInteger)  # trained weights, counted
    metrics: Mapped[Json] = mapped_column(JSON)
    baseline: Mapped[Json] = mapped_column(JSON)
    artifact: Mapped[str] = mapped_column(String(255))  # prefix in the artifact store
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))  # of all files, see `app.infrastructure.artifacts`
    created_at: Mapped[float] = mapped_column(Double, server_default=db_now())


class Alias(OwnedByName, Base):
    """A movable name for the versions that answer predictions, by default `production`."""

    __tablename__ = "aliases"
    __table_args__ = (_of_model(),)

    model: Mapped[str] = mapped_column(NAME, primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(Integer)  # of several, the one with the largest share
    split: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))  # share by version, if several answer
    shadow: Mapped[int | None] = mapped_column(Integer)  # computes the same calls without answering
    updated_at: Mapped[float] = mapped_column(Double, server_default=db_now())

    @property
    def versions(self) -> dict[str, float]:
        """The versions that answer, by number, each with its share of the calls."""
        split = self.split or {str(self.version): 1.0}
        return dict(sorted(split.items(), key=lambda item: int(item[0])))

    @property
    def referenced_versions(self) -> set[int]:
        """Every version that must not be deleted while this alias exists."""
        return {number for number in (*map(int, self.versions), self.shadow) if number is not None}


class Worker(Base):
    """A worker process that was alive at `last_seen`."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    device: Mapped[str] = mapped_column(String(255))  # those it has, with commas between them
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int] = mapped_column(Integer)
    loaded: Mapped[list[str]] = mapped_column(JSON)
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)  # that a training may take
    started_at: Mapped[float] = mapped_column(Double, server_default=db_now())
    last_seen: Mapped[float] = mapped_column(Double, server_default=db_now())


class Installation(Base):
    """The installation that this database belongs to: one row, see `app.services.maintenance.ownership`."""

    __tablename__ = "installation"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # always 1
    id: Mapped[str] = mapped_column(ID)
    marks: Mapped[int] = mapped_column(BigInteger)  # renewals of the store's mark
    marked_at: Mapped[float | None] = mapped_column(Double)  # the newest, by the store's clock
    restored: Mapped[list[list[float]]] = mapped_column(JSON)  # times that restored databases knew nothing of


class IdempotencyKey(OwnedByName, Base):
    """The response to the first request with an idempotency key, stored to be replayed."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    route: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None] = mapped_column(Integer)  # null while the first request still runs
    answer: Mapped[Json | None] = mapped_column(JSON)
    created_at: Mapped[float] = mapped_column(Double, server_default=db_now())
    locked_until: Mapped[float] = mapped_column(Double)


class Key(Owned, Base):
    """A key with which a client speaks for a project; of its secret only a digest is stored."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    prefix: Mapped[str] = mapped_column(String(32), unique=True)  # the part of the key that is no secret
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the whole key
    scopes: Mapped[list[str]] = mapped_column(JSON)
    requests_per_second: Mapped[float | None] = mapped_column(Double)
    queued_jobs: Mapped[int | None] = mapped_column(Integer)
    running_jobs: Mapped[int | None] = mapped_column(Integer)
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(Double, server_default=db_now())
    expires_at: Mapped[float | None] = mapped_column(Double)
    revoked_at: Mapped[float | None] = mapped_column(Double)


class AuditEntry(Owned, Base):
    """Something that was changed, or refused to be changed. Entries are added, and never changed."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_project_id", "project", "id"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    at: Mapped[float] = mapped_column(Double, server_default=db_now())
    key_id: Mapped[str | None] = mapped_column(ID)  # null: on the machine itself
    key_name: Mapped[str] = mapped_column(NAME)
    action: Mapped[str] = mapped_column(String(64))
    object: Mapped[str] = mapped_column(String(255))
    address: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[int] = mapped_column(Integer)  # the status of the answer
    request_id: Mapped[str] = mapped_column(String(128))


class Webhook(Owned, Base):
    """A URL that a project's events are sent to."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_project_id", "project", "id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    url: Mapped[str] = mapped_column(String(2048))
    events: Mapped[list[str]] = mapped_column(JSON)  # types of those that are sent
    description: Mapped[str] = mapped_column(String(255))
    secret: Mapped[str] = mapped_column(String(128))  # which signs the deliveries, so that no digest would do
    omitted: Mapped[int] = mapped_column(Integer, default=0)  # events that came while its queue was full
    busy_until: Mapped[float | None] = mapped_column(Double)  # lease of the process that sends to it
    key_id: Mapped[str | None] = mapped_column(ID)  # of the key that made it
    created_at: Mapped[float] = mapped_column(Double, server_default=db_now())


class WebhookDelivery(Owned, Base):
    """An event on its way to a webhook, or a record of how that ended."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_webhook_id_id", "webhook_id", "id"),
        Index("ix_webhook_deliveries_status_due_at", "status", "due_at"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(64))
    body: Mapped[str] = mapped_column(Text)  # as it is signed and sent
    status: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[float] = mapped_column(Double, server_default=db_now())  # of the next attempt
    response_status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[float] = mapped_column(Double, server_default=db_now())
    finished_at: Mapped[float | None] = mapped_column(Double)
