"""Reading and deleting jobs: filters, learning curves across attempts, and what each status permits."""

from typing import Any

import pytest
from sqlalchemy import select

from app.database.engine import Sessions
from app.database.tables import JobEvent
from app.errors import Conflict, NotFound
from app.infrastructure.events.job_events import append_events
from app.services.jobs import control, leases, queries
from app.services.jobs.leases import Lease
from app.services.paging import Paging
from app.states import LIVE, TERMINAL, Status
from tests.app.services.jobs.test_leases import OUTCOME, claimed, submit


def test_jobs_are_listed_by_every_filter(sessions: Sessions) -> None:
    with sessions.begin() as session:
        ids = [submit(session, model=f"m{k % 2}") for k in range(4)]
        control.cancel(session, ids[0])

    def listed(**filters: str) -> list[str]:
        with sessions() as session:
            return [job.id for job in queries.list_jobs(session, Paging(50, None), filters)]

    assert listed() == sorted(ids, reverse=True)
    assert set(listed(model="m1")) == {ids[1], ids[3]}
    assert listed(status="cancelled") == [ids[0]]
    assert listed(task="tagging") == []
    assert listed(model="m0", status="queued") == [ids[2]]


def end(sessions: Sessions, job_id: str, status: Status) -> None:
    """Give a queued job this status."""
    if status == Status.QUEUED:
        return
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        if status == Status.SUCCEEDED:
            leases.succeed(session, lease, OUTCOME)
        elif status in TERMINAL:
            leases.end(session, lease, status, code="why")
        elif status == Status.PAUSED:
            control.pause(session, job_id)
            leases.release(session, lease, crashed=False)


@pytest.mark.parametrize("status", Status)
def test_every_status_permits_or_refuses_cancel_and_delete(sessions: Sessions, status: Status) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
    end(sessions, job_id, status)
    with sessions.begin() as session:
        if status in LIVE:
            with pytest.raises(Conflict, match=status):
                queries.delete_job(session, job_id)
        if status in {Status.SUCCEEDED, Status.FAILED}:
            with pytest.raises(Conflict, match=f"already {status}"):
                control.cancel(session, job_id)
        else:
            expected = Status.RUNNING if status == Status.RUNNING else Status.CANCELLED
            for _ in range(2):  # repeating is harmless
                job = control.cancel(session, job_id)
                assert (job.status, job.cancel_requested_at is not None) == (
                    expected,
                    status != Status.CANCELLED,
                )
    with sessions() as session:
        statuses = [event.data["status"] for event in queries.list_events(session, job_id, 0, 50)]
    assert statuses.count("cancelled") == (1 if status in {"queued", "paused", "cancelled"} else 0)


def test_deleting_a_job_deletes_its_events(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id, other = submit(session), submit(session)
        control.cancel(session, job_id)
    with sessions.begin() as session:
        queries.delete_job(session, job_id)
    with sessions() as session:
        assert session.scalars(select(JobEvent.job_id)).all() == [other]
        with pytest.raises(NotFound):
            queries.get_job(session, job_id)
        with pytest.raises(NotFound):
            queries.learning_curves(session, job_id)


def test_curves_are_those_of_the_newest_attempt_however_many_there_were(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
    for attempt in (1, 2, 3):
        lease = claimed(sessions, job_id)
        assert lease == Lease(job_id, attempt)
        with sessions.begin() as session:
            leases.renew(
                session, lease, 60, None, None, [("epoch", {"epoch": 1, "of": attempt}), ("log", {})]
            )
        with sessions() as session:
            assert queries.learning_curves(session, job_id) == [{"epoch": 1, "of": attempt}]
        with sessions.begin() as session:
            leases.release(session, lease, crashed=False)


def test_curves_of_a_resumed_attempt_continue_from_its_checkpoint(sessions: Sessions) -> None:
    def events_of(*epochs: tuple[str, int, float]) -> list[tuple[str, dict[str, Any]]]:
        stages = {"fit": 1, "refit": 2}
        return [
            ("epoch", {"phase": phase, "stage": stages[phase], "epoch": k, "loss": loss})
            for phase, k, loss in epochs
        ]

    with sessions.begin() as session:
        job_id = submit(session)
    attempts = [
        events_of(("fit", 1, 0.9), ("fit", 2, 0.8), ("fit", 3, 0.7)),
        events_of(("fit", 3, 0.6), ("fit", 4, 0.5), ("refit", 1, 0.45), ("refit", 2, 0.4)),
        events_of(("refit", 2, 0.3), ("refit", 3, 0.2)),
    ]
    expected = [
        [0.9, 0.8, 0.7],
        [0.9, 0.8, 0.6, 0.5, 0.45, 0.4],
        [0.9, 0.8, 0.6, 0.5, 0.45, 0.3, 0.2],
    ]
    for events, losses in zip(attempts, expected, strict=True):
        lease = claimed(sessions, job_id)
        for event in events:
            with sessions.begin() as session:
                leases.renew(session, lease, 60, None, None, [event, ("checkpoint", {})])
        with sessions.begin() as session:
            assert [epoch["loss"] for epoch in queries.learning_curves(session, job_id)] == losses
            leases.release(session, lease, crashed=False)
    with sessions() as session:
        phases = [epoch["phase"] for epoch in queries.learning_curves(session, job_id)]
    assert phases == ["fit"] * 4 + ["refit"] * 3


def test_curves_of_a_fit_that_is_repeated_drop_the_refit_after_it(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
        epochs: list[dict[str, Any]] = [
            {"epoch": 1},
            {"epoch": 2},
            {"stage": 2, "epoch": 1},
            {"epoch": 2, "again": True},
        ]
        append_events(session, job_id, [("epoch", epoch) for epoch in epochs])
    with sessions() as session:
        assert queries.learning_curves(session, job_id) == [{"epoch": 1}, {"epoch": 2, "again": True}]
