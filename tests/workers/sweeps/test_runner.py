"""The thread that advances sweeps: real Optuna, database and store, with runs that are played."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.hyperparameters.space import Space
from app.infrastructure.storage import Storage
from app.services.jobs import checkpoints, leases
from app.services.maintenance import cleanup
from app.services.sweeps import advance
from app.services.sweeps.policy import SweepContext, SweepPlan, TrialResult
from app.services.sweeps.state import Run
from app.states import LIVE, Status
from app.typedefs import Json
from tests.app.services.invariants import check, look
from tests.support.factories.sweeps import Played, Scripted, by_cell, stage
from tests.support.fixtures.servers import until
from workers.sweeps.runner import SweepRunner

GOOD = by_cell(rnn=0.9, lstm=0.5, gru=0.7)


@pytest.fixture(autouse=True)
def sound(sessions: Sessions) -> Iterator[None]:
    """After each test every row agrees with its history."""
    stage(sessions)
    yield
    with sessions() as session:
        check(look(session))


class Theatre:
    """A sweep runner, and workers that leave files."""

    def __init__(self, sessions: Sessions, storage: Storage, directory: Path, script: Any = None) -> None:
        self.notified: list[str] = []
        self.sessions, self.storage, self.source = sessions, storage, directory / "source"
        self.source.write_bytes(b"weights")
        self.runner = SweepRunner(
            sessions, sessions, storage, self.notified.append, script, script, tick=0.01
        )

    def play(self, played: Played, value: Callable[[Run], float | None]) -> bool:
        """Run what is queued, each run leaving an artifact; whether the sweep has ended."""
        for run in played.runs(Status.QUEUED):
            lease = played.claim(run.job_id)
            self.storage.put(f"artifacts/{run.job_id}/{lease.attempt}/model.onnx", self.source)
            played.report(lease, value(run) or 0.0)
            assert played.finish(lease, value(run))
        return played.job().status not in LIVE

    def artifacts(self) -> set[str]:
        """Jobs whose artifacts are there."""
        return {key.split("/")[1] for key in self.storage.keys("artifacts")}


@pytest.fixture
def theatre(sessions: Sessions, storage: Storage, tmp_path: Path) -> Theatre:
    return Theatre(sessions, storage, tmp_path)


def test_a_sweep_is_advanced_to_its_end_and_only_the_best_artifact_stays(
    theatre: Theatre, sessions: Sessions
) -> None:
    played = Played(sessions, seeds=2)
    while played.job().status in LIVE:
        theatre.runner.advance_all()
        theatre.play(played, GOOD)
        assert len(theatre.artifacts()) <= 4  # the leader, and of each trial that is under way its best
    assert played.job().status == Status.SUCCEEDED
    best = played.state().ranked[0].best
    assert best is not None
    assert theatre.artifacts() == {best.job_id}
    assert sorted(theatre.notified) == sorted(run.job_id for run in played.runs())


def test_parzen_estimators_find_a_better_rate_than_the_first_few(
    theatre: Theatre, sessions: Sessions
) -> None:
    def value(run: Run) -> float:
        return abs(math.log10(run.parameters["training.learning_rate"]) + 2)

    search = {"training.learning_rate": {"min": 1e-5, "max": 1.0, "log": True}}
    played = Played(sessions, search=search, seeds=1, max_trials=15, max_parallel=2)
    while played.job().status in LIVE:
        theatre.runner.advance_all()
        theatre.play(played, value)
    values = [trial.values[0] for trial in played.state().trials if trial.values]
    assert (played.job().search or {})["sampler"] == "tpe"
    assert len(played.state().trials) == 15
    assert min(values[5:]) <= min(values[:5])
    assert played.job().metrics == {"smape": 1.0, "valid_loss": min(values)}


def test_a_run_behind_the_median_is_stopped(theatre: Theatre, sessions: Sessions) -> None:
    search = {"network.layers": {"min": 1, "max": 7}}
    played = Played(sessions, search=search, seeds=1, max_parallel=6, training={"epochs": 4})
    theatre.runner.advance_all()
    *good, bad = played.runs(Status.QUEUED)
    for run in good:
        lease = played.claim(run.job_id)
        played.report(lease, 0.9, 0.5)
        played.finish(lease, 0.5)
    lease = played.claim(bad.job_id)
    played.report(lease, 2.0)
    theatre.runner.advance_all()
    stopped = played.job(bad.job_id)
    assert (stopped.cancel_requested_at is not None, (stopped.trial or {})["stopped"]) == (True, "pruned")
    with sessions.begin() as session:
        assert leases.end(session, lease, Status.CANCELLED)
    theatre.runner.advance_all()
    assert played.events("run")[-1]["status"] == "pruned"


def test_files_of_runs_that_may_yet_win_are_nobodys_orphans(
    theatre: Theatre, sessions: Sessions, storage: Storage
) -> None:
    played = Played(sessions, seeds=1, prune=False, max_parallel=3)
    theatre.runner.advance_all()
    theatre.play(played, GOOD)
    with sessions() as session:
        assert cleanup.find_orphans(session, storage, seconds=-1.0) == []
    played.cancel()
    with sessions() as session:
        orphans = cleanup.find_orphans(session, storage, seconds=-1.0)
    assert {orphan.owner for orphan in orphans} == {run.job_id for run in played.runs()}


def test_an_outage_of_the_database_only_makes_it_late(
    theatre: Theatre, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("select", {}, OSError("away"))

    played = Played(sessions)
    for name in ("active", "load", "apply"):
        with monkeypatch.context() as patch:
            patch.setattr(advance, name, away)
            theatre.runner.advance_all()
        assert played.job().status == Status.QUEUED
    theatre.runner.advance_all()
    assert played.job().status == Status.RUNNING


def test_a_sweep_deleted_meanwhile_is_no_fault_and_one_with_a_fault_holds_up_no_other(
    theatre: Theatre, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    played, refused = Played(sessions), Played(sessions)
    monkeypatch.setattr(advance, "active", lambda _: ["job_none", refused.id, played.id])
    apply = advance.apply

    def refuse(session: Session, context: SweepContext, plan: SweepPlan) -> advance.AppliedPlan:
        if context.state.sweep.id == refused.id:
            raise IntegrityError("insert", {}, ValueError("there is one"))
        return apply(session, context, plan)

    monkeypatch.setattr(advance, "apply", refuse)
    theatre.runner.advance_all()
    assert played.job().status == Status.RUNNING
    assert (refused.job().status, refused.job().error_code) == (Status.FAILED, "internal")
    assert refused.job().error_message == "IntegrityError: (builtins.ValueError) there is one"
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_a_fault_of_ours_fails_the_one_sweep_that_has_it(
    sessions: Sessions, storage: Storage, tmp_path: Path
) -> None:
    class Faulty(Scripted):
        def suggest(
            self, search: Json, space: Space, seed: int, results: Sequence[TrialResult]
        ) -> Iterator[Json]:
            if seed == 13 and results:
                raise KeyError("x")
            return super().suggest(search, space, seed, results)

    theatre = Theatre(sessions, storage, tmp_path, Faulty())
    broken, other = (Played(sessions, training={"seed": seed}, max_parallel=1, seeds=1) for seed in (13, 14))
    theatre.runner.advance_all()
    theatre.play(broken, GOOD)
    theatre.runner.advance_all()
    failed = broken.job()
    assert (failed.status, failed.error_code, failed.error_message) == (
        Status.FAILED, "internal", "KeyError: 'x'",
    )  # fmt: skip
    assert other.job().status == Status.RUNNING
    theatre.runner.advance_all()  # and goes on
    assert other.job().status == Status.RUNNING


def test_what_the_store_does_not_delete_now_it_may_delete_later(
    theatre: Theatre, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played(sessions, seeds=1, prune=False, max_parallel=3)
    theatre.runner.advance_all()
    theatre.play(played, GOOD)

    def away(*_: object) -> None:
        raise OSError("away")

    monkeypatch.setattr(Storage, "delete", away)
    theatre.runner.advance_all()
    assert played.job().status == Status.SUCCEEDED
    assert len(theatre.artifacts()) == 3
    monkeypatch.undo()
    with sessions() as session:  # the janitor's work
        assert len(cleanup.find_orphans(session, theatre.storage, seconds=-1.0)) == 2


def test_the_thread_advances_sweeps_until_it_is_stopped(theatre: Theatre, sessions: Sessions) -> None:
    played = Played(sessions, seeds=1)
    theatre.runner.start()
    until(played.runs, 10, "the first runs")
    until(lambda: theatre.play(played, GOOD), 60, "the end")
    theatre.runner.stop()
    assert played.job().status == Status.SUCCEEDED
    assert not theatre.storage.keys(checkpoints.CHECKPOINTS_ROOT)


def test_one_that_never_began_can_be_stopped(theatre: Theatre) -> None:
    theatre.runner.stop()
