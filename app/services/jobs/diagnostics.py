"""What is known of the memory of a network while a job trains it."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import JobEvent
from app.services.jobs.queries import get_job, without_repeated
from app.typedefs import Json

EVENT = "diagnostics"
OK = "ok"
VERDICT_FIELDS = ("verdict", "rule", "remedy")


def job_diagnostics(session: Session, job_id: str) -> Json:
    """The diagnostics of a job by epoch, those of the weights it ended with, and the verdict.

    It is that of the weights, of several networks the first that is not ok. Where they are of an early epoch,
    before the training went wrong, it is that of the last epoch. None before the first. Raises `NotFound`.
    """
    get_job(session, job_id)
    query = select(JobEvent.data).where(JobEvent.job_id == job_id, JobEvent.type == EVENT)
    measured = list(session.scalars(query.order_by(JobEvent.seq)))
    epochs = without_repeated(one for one in measured if not one.get("final"))
    finals = without_repeated(one for one in measured if one.get("final"))
    latest = [*finals, *epochs[-1:]]
    decisive = next((one for one in latest if one["verdict"] != OK), latest[0] if latest else {})
    return {
        "epochs": [_figures(one) for one in epochs],
        "final": [_figures(one) for one in finals],
        **{name: decisive.get(name) for name in VERDICT_FIELDS},
    }


def _figures(entry: Json) -> Json:
    left_out = {*VERDICT_FIELDS, "final"}
    return {name: value for name, value in entry.items() if name not in left_out}
