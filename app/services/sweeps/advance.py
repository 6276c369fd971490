"""How a sweep advances: load its state, decide, and apply the plan in one transaction.

Nobody owns a sweep. Every training worker advances all of them, and of two plans that were made at once only
the first to lock the sweep's row is applied: the other one finds runs that it did not know of.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Dataset, Job, JobEvent
from app.infrastructure.events.job_events import append_events
from app.schemas import JobIn
from app.services.jobs import control, queries, workers
from app.services.jobs.submission import add_job
from app.services.models import versions
from app.services.models.versions import TrainingOutcome
from app.services.sweeps import state, submission
from app.services.sweeps.policy import LossCurve, StartRun, StopRun, SweepContext, SweepPlan
from app.services.sweeps.state import PRUNED, Run, SweepState
from app.states import SWEEP, TERMINAL, Status
from app.tasks.shared.validation_metrics import VALIDATION_LOSS, validation_metric
from app.typedefs import Json

MIN_PARALLEL_RUNS = 2  # even with one worker, so that the next run is queued when one ends
ACTIVE = (Status.QUEUED, Status.RUNNING)
RUN_EVENT = "run"  # the type of the event that reports a run's end


@dataclass(frozen=True)
class AppliedPlan:
    """What became of a plan."""

    started: tuple[str, ...] = ()  # ids of the runs, of which workers are to be notified
    ended: bool = False  # whether the sweep has ended


def active(session: Session) -> list[str]:
    """The ids of all sweeps that are queued or running."""
    query = select(Job.id).where(Job.status.in_(ACTIVE), Job.kind == SWEEP)
    return list(session.scalars(query.order_by(Job.id)))


def load(session: Session, sweep_id: str, cache: dict[str, LossCurve]) -> SweepContext:
    """The sweep's state and what deciding needs beside it.

    `cache` holds the curves of ended runs, which are read once; missing ones are added to it.
    """
    current = state.load(session, sweep_id)
    search = current.search
    curves, epochs = dict[str, LossCurve](), dict[str, int]()
    for trial in current.trials if search["prune"] else ():
        for run in trial.runs:
            if run.value is not None or (run.stopped == PRUNED and not run.live):
                if run.job_id not in cache:
                    cache[run.job_id] = loss_curve(session, run.job_id)
                curves[run.job_id] = cache[run.job_id]
        first = trial.runs[0]
        if first.status == Status.RUNNING:
            curves[first.job_id] = loss_curve(session, first.job_id)
            epochs[first.job_id] = queries.get_job(session, first.job_id).training["epochs"]
    trainers = sum(worker.role == "train" for worker, _ in workers.list_live(session))
    dataset = session.get_one(Dataset, current.sweep.dataset_id)  # a live job keeps it from being deleted
    parallel = search["max_parallel"] or max(trainers, MIN_PARALLEL_RUNS)
    return SweepContext(current, dataset, parallel, curves, epochs)


def loss_curve(session: Session, job_id: str) -> LossCurve:
    """The validation loss after each epoch of the run's first fit, which all runs have."""
    epochs = [
        epoch
        for epoch in queries.learning_curves(session, job_id)
        if epoch.get("phase", "fit") == "fit" and not epoch.get("member")
    ]
    return {epoch["epoch"]: epoch["valid_loss"] for epoch in epochs if epoch.get("valid_loss") is not None}


def apply(session: Session, context: SweepContext, plan: SweepPlan) -> AppliedPlan:
    """Start and stop runs, report those that ended, and end the sweep when nothing is left to do.

    Does nothing when there is nothing to do, or when somebody else has advanced the sweep meanwhile.
    """
    planned = context.state
    ended = not plan.starts and not planned.live
    queued = planned.sweep.status == Status.QUEUED
    if not (plan.starts or plan.stops or ended or queued or _has_unreported_runs(planned)):
        return AppliedPlan()
    sweep = _lock(session, planned.sweep.id)
    if sweep is None:
        return AppliedPlan()
    current = state.load(session, sweep.id)
    if len(current.runs) != len(planned.runs):
        return AppliedPlan()
    if sweep.status == Status.QUEUED:
        _set_running(session, sweep)
    for stop in plan.stops:
        _stop_run(session, stop)
    started = tuple(_start_run(session, current, start) for start in plan.starts)
    _report_ended_runs(session, current, context.parallel)
    if ended:
        _end(session, current)
    return AppliedPlan(started, ended)


def fail(session: Session, sweep_id: str, code: str, message: str) -> None:
    """Fail a sweep that cannot go on, and cancel its runs."""
    sweep = _lock(session, sweep_id)
    if sweep is not None:
        if sweep.status == Status.QUEUED:
            _set_running(session, sweep)
        for run in state.load(session, sweep_id).live:
            control.cancel(session, run.job_id)
        _set_terminal(session, sweep, Status.FAILED, error_code=code, error_message=message)


def _lock(session: Session, sweep_id: str) -> Job | None:
    """The locked row of an active sweep; None when somebody else has locked it."""
    query = select(Job).where(Job.id == sweep_id, Job.status.in_(ACTIVE)).with_for_update(skip_locked=True)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def _set_running(session: Session, sweep: Job) -> None:
    sweep.status, sweep.attempt = Status.RUNNING, sweep.attempt + 1
    if sweep.started_at is None:
        sweep.started_at = session.scalars(select(db_now())).one()
    session.flush()
    append_events(session, sweep.id, [("status", {"status": Status.RUNNING, "attempt": sweep.attempt})])


def _start_run(session: Session, current: SweepState, start: StartRun) -> str:
    sweep = current.sweep
    # All runs are compared on the same split of the data, whatever their seed.
    config = asdict(start.config)
    config["training"] |= {"seed": start.seed, "split_seed": current.search["seed"]}
    if current.search["metric"] != VALIDATION_LOSS:
        config["training"] |= {"judged_by": current.search["metric"]}
    trial = {"number": start.number, "seed": start.seed, "parameters": start.parameters}
    request = JobIn.model_validate(submission.base_of(sweep) | {"network": {}, "training": {}, "options": {}})
    owner = {"project": sweep.project, "key_id": sweep.key_id}
    request = request.model_copy(update={"priority": sweep.priority})
    return add_job(session, request, "train", sweep_id=sweep.id, trial=trial, **owner, **config).id


def _stop_run(session: Session, stop: StopRun) -> None:
    run = session.get_one(Job, stop.job_id, with_for_update=True, populate_existing=True)
    if run.status not in TERMINAL and run.cancel_requested_at is None:
        run.trial = {**(run.trial or {}), "stopped": stop.reason}
        append_events(session, run.id, [("log", {"message": stop.message})])
        control.cancel(session, run.id)


def _has_unreported_runs(current: SweepState) -> bool:
    progress = current.sweep.progress or {}
    return bool(progress.get("runs") != len(current.runs) - len(current.live))


def _report_ended_runs(session: Session, current: SweepState, parallel: int) -> None:
    """Store the sweep's progress, and append an event for each run that ended since the last report."""
    if not _has_unreported_runs(current):
        return
    sweep, metric = current.sweep, validation_metric(current.search["metric"])
    query = select(JobEvent.data).where(JobEvent.job_id == sweep.id, JobEvent.type == RUN_EVENT)
    reported = {data["job"] for data in session.scalars(query)}
    sweep.progress = progress(current, parallel)
    if current.ranked:
        sweep.metrics = {metric: current.ranked[0].mean}
    session.flush()
    ended = [run for run in current.runs if not run.live and run.job_id not in reported]
    append_events(session, sweep.id, [(RUN_EVENT, _run_event(run, metric)) for run in ended])


def _run_event(run: Run, metric: str) -> Json:
    trial = {"trial": run.number, "seed": run.seed, "parameters": run.parameters}
    result = {"status": run.stopped or run.status, metric: run.value}
    return {"job": run.job_id, **trial, **result}


def progress(current: SweepState, parallel: int) -> Json:
    """The sweep's progress; runs that a closed trial will never have count as done."""
    seeds = current.search["seeds"]
    total = seeds * current.search["max_trials"]
    ended = len(current.runs) - len(current.live)
    done = ended + sum(seeds - len(trial.runs) for trial in current.trials if not trial.open)
    durations = [run.seconds for run in current.runs if run.seconds is not None]
    eta = sum(durations) / len(durations) * (total - done) / parallel if durations else None
    return {
        "fraction": round(done / total, 4),
        "runs": ended,
        "total": total,
        "eta_seconds": None if eta is None else round(eta, 1),
    }


def _end(session: Session, current: SweepState) -> None:
    """Publish the best run of the best trial as the model's next version; without one the sweep failed."""
    sweep = current.sweep
    best = current.ranked[0].best if current.ranked else None
    if best is None:
        metric = validation_metric(current.search["metric"])
        error = {"error_code": "no_result", "error_message": _failure_message(current.runs, metric)}
        _set_terminal(session, sweep, Status.FAILED, **error)
        return
    run = session.get_one(Job, best.job_id)
    outcome = TrainingOutcome(**(run.outcome or {}))
    sweep.model_version = versions.publish(session, run, outcome)
    sweep.metrics = outcome.metrics
    sweep.progress = {**(sweep.progress or {}), "fraction": 1.0, "eta_seconds": 0.0}
    _set_terminal(session, sweep, Status.SUCCEEDED)


def _failure_message(runs: Iterable[Run], metric: str) -> str:
    errors = [run.error for run in runs if run.error is not None]
    if errors:
        return f"No run reached a {metric}; the first one that failed: {errors[0]}"
    if any(run.status == Status.SUCCEEDED for run in runs):
        return f"No run has a {metric}: the data leave no validation split"
    return f"No run reached a {metric}: they were cancelled, or had no time"


def _set_terminal(session: Session, sweep: Job, status: Status, **error: str) -> None:
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
    append_events(session, sweep.id, [("status", data)])
