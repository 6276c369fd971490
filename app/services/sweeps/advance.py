"""How a sweep goes on: a look at the database, a decision, and one transaction that carries it out.

Nobody owns a sweep. Every training worker looks at all of them, and what two decide at once only the first
to lock the sweep's row does: the other then finds runs that it has not seen.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Dataset, Job, JobEvent
from app.infrastructure.job_events import append
from app.schemas import JobIn
from app.services.jobs import control, submission, workers
from app.services.models import versions
from app.services.models.versions import Outcome
from app.services.sweeps import state
from app.services.sweeps import submission as sweep_submission
from app.services.sweeps.policy import Curve, Start, Step, Stop, View
from app.services.sweeps.state import PRUNED, Run, Standing
from app.states import SWEEP, TERMINAL, Status
from app.tasks.shared.validation_metrics import LOSS, of_validation
from app.typedefs import Json

AT_LEAST = 2  # runs at once: the next one waits at the door while one runs
GOING = (Status.QUEUED, Status.RUNNING)
RUN = "run"  # the event of a run's end


@dataclass(frozen=True)
class Done:
    """What was done."""

    begun: tuple[str, ...] = ()  # runs to ring for
    ended: bool = False


def going(session: Session) -> list[str]:
    """Sweeps that go on."""
    query = select(Job.id).where(Job.status.in_(GOING), Job.kind == SWEEP)
    return list(session.scalars(query.order_by(Job.id)))


def look(session: Session, sweep_id: str, known: dict[str, Curve]) -> View:
    """The sweep as it stands; curves of runs that ended are read once, and are in `known` from then on."""
    standing = state.read(session, sweep_id)
    search = standing.search
    curves, epochs = dict[str, Curve](), dict[str, int]()
    for trial in standing.trials if search["prune"] else ():
        for run in trial.runs:
            if run.value is not None or (run.stopped == PRUNED and not run.live):
                if run.job_id not in known:
                    known[run.job_id] = curve(session, run.job_id)
                curves[run.job_id] = known[run.job_id]
        first = trial.runs[0]
        if first.status == Status.RUNNING:
            curves[first.job_id] = curve(session, first.job_id)
            epochs[first.job_id] = submission.get(session, first.job_id).training["epochs"]
    busy = sum(worker.role == "train" for worker, _ in workers.live(session))
    dataset = session.get_one(Dataset, standing.sweep.dataset_id)  # which a live job keeps from being deleted
    return View(standing, dataset, search["max_parallel"] or max(busy, AT_LEAST), curves, epochs)


def curve(session: Session, job_id: str) -> Curve:
    """The validation loss after each epoch of the first fit, which all runs have."""
    fits = [one for one in submission.curves(session, job_id) if one.get("phase", "fit") == "fit"]
    told = [one for one in fits if not one.get("member") and one.get("valid_loss") is not None]
    return {one["epoch"]: one["valid_loss"] for one in told}


def carry_out(session: Session, view: View, step: Step) -> Done:
    """Begin and end runs, tell what ended, and with the last one end the sweep.

    Nothing is done when somebody else does, or when there is nothing to do.
    """
    seen = view.standing
    over = not step.starts and not seen.live
    if not (step.starts or step.stops or over or _untold(seen) or seen.sweep.status == Status.QUEUED):
        return Done()
    sweep = _locked(session, seen.sweep.id)
    if sweep is None:
        return Done()
    now = state.read(session, sweep.id)
    if len(now.runs) != len(seen.runs):
        return Done()
    if sweep.status == Status.QUEUED:
        _begin(session, sweep)
    for stop in step.stops:
        _stop(session, stop)
    begun = tuple(_start(session, now, start) for start in step.starts)
    _tell(session, now, view.parallel)
    if over:
        _end(session, now)
    return Done(begun, over)


def fail(session: Session, sweep_id: str, code: str, message: str) -> None:
    """End a sweep that cannot go on, and its runs."""
    sweep = _locked(session, sweep_id)
    if sweep is not None:
        if sweep.status == Status.QUEUED:
            _begin(session, sweep)
        for run in state.read(session, sweep_id).live:
            control.cancel(session, run.job_id)
        _move(session, sweep, Status.FAILED, error_code=code, error_message=message)


def _locked(session: Session, sweep_id: str) -> Job | None:
    """The row of a sweep that goes on; None when somebody else is at it."""
    query = select(Job).where(Job.id == sweep_id, Job.status.in_(GOING)).with_for_update(skip_locked=True)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def _begin(session: Session, sweep: Job) -> None:
    sweep.status, sweep.attempt = Status.RUNNING, sweep.attempt + 1
    if sweep.started_at is None:
        sweep.started_at = session.scalars(select(db_now())).one()
    session.flush()
    append(session, sweep.id, [("status", {"status": Status.RUNNING, "attempt": sweep.attempt})])


def _start(session: Session, now: Standing, start: Start) -> str:
    sweep = now.sweep
    # All runs are compared on the same split of the data, whatever their seed.
    settings = asdict(start.settings)
    settings["training"] |= {"seed": start.seed, "split_seed": now.search["seed"]}
    if now.search["metric"] != LOSS:
        settings["training"] |= {"judged_by": now.search["metric"]}
    trial = {"number": start.number, "seed": start.seed, "parameters": start.parameters}
    request = JobIn.model_validate(
        sweep_submission.base_of(sweep) | {"network": {}, "training": {}, "options": {}}
    )
    return submission.store(session, request, "train", sweep_id=sweep.id, trial=trial, **settings).id


def _stop(session: Session, stop: Stop) -> None:
    run = session.get_one(Job, stop.job_id, with_for_update=True, populate_existing=True)
    if run.status not in TERMINAL and run.cancel_requested_at is None:
        run.trial = {**(run.trial or {}), "stopped": stop.why}
        append(session, run.id, [("log", {"message": stop.message})])
        control.cancel(session, run.id)


def _untold(standing: Standing) -> bool:
    progress = standing.sweep.progress or {}
    return bool(progress.get("runs") != len(standing.runs) - len(standing.live))


def _tell(session: Session, now: Standing, parallel: int) -> None:
    """Note how far the sweep is; the end of each run is an event, once."""
    if not _untold(now):
        return
    sweep, metric = now.sweep, of_validation(now.search["metric"])
    query = select(JobEvent.data).where(JobEvent.job_id == sweep.id, JobEvent.type == RUN)
    told = {data["job"] for data in session.scalars(query)}
    sweep.progress = progress(now, parallel)
    if now.ranked:
        sweep.metrics = {metric: now.ranked[0].mean}
    session.flush()
    ended = [run for run in now.runs if not run.live and run.job_id not in told]
    append(session, sweep.id, [(RUN, _news(run, metric)) for run in ended])


def _news(run: Run, metric: str) -> Json:
    trial = {"trial": run.number, "seed": run.seed, "parameters": run.parameters}
    status = {"status": run.stopped or run.status, metric: run.value}
    return {"job": run.job_id, **trial, **status}


def progress(now: Standing, parallel: int) -> Json:
    """How far a sweep is; runs that a trial will not have any more count as done."""
    wanted = now.search["seeds"]
    total = wanted * now.search["max_trials"]
    ended = len(now.runs) - len(now.live)
    done = ended + sum(wanted - len(trial.runs) for trial in now.trials if not trial.open)
    took = [run.seconds for run in now.runs if run.seconds is not None]
    left = sum(took) / len(took) * (total - done) / parallel if took else None
    return {
        "fraction": round(done / total, 4),
        "runs": ended,
        "total": total,
        "eta_seconds": None if left is None else round(left, 1),
    }


def _end(session: Session, now: Standing) -> None:
    """The best run of the best trial becomes the version; without any the sweep has failed."""
    sweep = now.sweep
    best = now.ranked[0].best if now.ranked else None
    if best is None:
        _move(
            session,
            sweep,
            Status.FAILED,
            error_code="no_result",
            error_message=_cause(now.runs, of_validation(now.search["metric"])),
        )
        return
    run = session.get_one(Job, best.job_id)
    outcome = Outcome(**(run.outcome or {}))
    sweep.model_version = versions.publish(session, run, outcome)
    sweep.metrics = outcome.metrics
    sweep.progress = {**(sweep.progress or {}), "fraction": 1.0, "eta_seconds": 0.0}
    _move(session, sweep, Status.SUCCEEDED)


def _cause(runs: Iterable[Run], metric: str) -> str:
    errors = [run.error for run in runs if run.error is not None]
    if errors:
        return f"No run reached a {metric}; the first one that failed: {errors[0]}"
    if any(run.status == Status.SUCCEEDED for run in runs):
        return f"No run has a {metric}: the data leave no validation split"
    return f"No run reached a {metric}: they were cancelled, or had no time"


def _move(session: Session, sweep: Job, status: Status, **error: str) -> None:
    sweep.status = status
    sweep.finished_at = session.scalars(select(db_now())).one()
    for name, value in error.items():
        setattr(sweep, name, value)
    session.flush()
    data: Json = {"status": status}
    if status == Status.SUCCEEDED:
        data["model_version"] = sweep.model_version
    if error:
        data["error"] = {"code": error["error_code"], "message": error["error_message"]}
    append(session, sweep.id, [("status", data)])
