"""The database of the state machine test: its initial rows, and how time passes."""

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from app.database.tables import Alias, Dataset, Job, JobEvent, Model, ModelVersion
from app.typedefs import Json

BASE, BASE_VERSION = "base", 1  # the model that batches predict with
STATE: Json = {"freq": "MS", "horizon": 6, "quantiles": [0.5]}
SUMMARY: Json = {
    "longest_train": 60,
    "split": None,
    "frequency": "MS",
    "covariates": {"static": [], "numeric": [], "category": []},
}


def pass_time(session: Session, seconds: float) -> None:
    """Make every column with a time of the clock older by `seconds`."""
    clocks = (Job.lease_until, Job.due_at, Job.dispatched_at)
    session.execute(update(Job).values({clock: clock - seconds for clock in clocks}))


def clean(session: Session) -> None:
    """Delete all rows, then add a data set and a version that batch predictions use."""
    for table in (JobEvent, Job, Alias, ModelVersion, Model, Dataset):
        session.execute(delete(table))
    session.add(
        Dataset(
            id="ds_1", task="forecasting", summary=SUMMARY,
            name="n", format="csv", bytes=1, sha256="0", filename="f", warnings=[],
        )
    )  # fmt: skip
    session.add(Model(name=BASE, id="model_1", task="forecasting", versions=BASE_VERSION))
    session.flush()
    session.add(
        ModelVersion(
            model=BASE, version=BASE_VERSION, job_id="job_base", dataset_id="ds_1", task="forecasting",
            network={}, options={}, parameters=1, metrics={}, baseline={}, artifact="a", bytes=1, sha256="0",
        )
    )  # fmt: skip
