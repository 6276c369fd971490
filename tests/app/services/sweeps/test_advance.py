"""Sweeps that advance: the order of runs, what is pruned, who wins, and that nothing is done twice."""

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from app.database.engine import Sessions, db_now
from app.database.tables import Alias, Job, ModelVersion, Worker
from app.errors import Conflict
from app.services.jobs import control, leases, queries, reaper
from app.services.jobs.leases import Lease
from app.services.models import versions
from app.services.sweeps import advance
from app.services.sweeps.policy import LossCurve, decide
from app.states import LIVE, TERMINAL, Status
from app.typedefs import Json
from tests.app.services.invariants import check, check_change, look
from tests.app.services.jobs.test_leases import expire
from tests.support.factories.sweeps import Played, Scripted, all_jobs, by_cell, outcome, stage

GOOD = by_cell(rnn=0.9, lstm=0.5, gru=0.7)


@pytest.fixture(autouse=True)
def sound(sessions: Sessions) -> Iterator[None]:
    """After each test every row agrees with its history."""
    stage(sessions)
    yield
    with sessions() as session:
        check(look(session))


def test_the_best_run_of_the_best_trial_becomes_the_version(sessions: Sessions) -> None:
    played = Played(sessions, seeds=2, prune=False)
    done = played.to_the_end(GOOD)
    assert (done.status, done.model_version) == (Status.SUCCEEDED, 1), done.error_message
    assert done.metrics == {"smape": 1.0, "valid_loss": 0.5}
    assert done.progress == {"fraction": 1.0, "runs": 6, "total": 6, "eta_seconds": 0.0}
    best = played.state().ranked[0].best
    assert best is not None
    with sessions() as session:
        (version,) = session.scalars(select(ModelVersion))
        assert session.get_one(Alias, ("default", "m", "production")).version == 1
    assert (version.job_id, version.artifact) == (best.job_id, f"artifacts/{best.job_id}/1")
    assert (version.network["cell"], version.metrics) == ("lstm", {"smape": 1.0, "valid_loss": 0.5})
    assert [trial.parameters["network.cell"] for trial in played.state().ranked] == ["lstm", "gru", "rnn"]
    assert played.events("status")[-1] == {"status": "succeeded", "model_version": 1}
    assert len(played.events("run")) == len({event["job"] for event in played.events("run")}) == 6


def test_of_a_metric_of_which_more_is_better_the_most_wins(sessions: Sessions) -> None:
    tagged: Json = {"task": "tagging", "dataset": "ds_2", "options": {}, "metric": "f1"}
    script = Scripted()
    played = Played(sessions, script, **tagged, seeds=2, max_parallel=6)
    started = [played.job(job_id) for job_id in played.step().started]
    assert {run.training["judged_by"] for run in started} == {"f1"}
    done = played.to_the_end(by_cell(rnn=0.5, lstm=0.6, gru=0.4))
    assert (done.status, done.model_version) == (Status.SUCCEEDED, 1), done.error_message
    ranked = played.state().ranked
    assert [trial.parameters["network.cell"] for trial in ranked] == ["lstm", "rnn", "gru"]
    assert ranked[0].best is not None
    assert (ranked[0].best.seed, ranked[0].best.value) == (8, 0.61)
    assert done.metrics == {"smape": 1.0, "valid_f1": 0.61}
    values = sorted(one["valid_f1"] for one in played.events("run"))
    assert values == pytest.approx([0.4, 0.41, 0.5, 0.51, 0.6, 0.61])


def test_a_sampler_gets_costs_of_which_less_is_better(sessions: Sessions) -> None:
    tagged: Json = {"task": "tagging", "dataset": "ds_2", "options": {}, "metric": "f1"}
    script = Scripted()
    played = Played(sessions, script, **tagged, seeds=1, max_parallel=2)
    played.step()
    played.play(by_cell(rnn=0.5, lstm=0.6, gru=0.4))
    played.step()
    assert [result.value for result in script.results] == [-0.5, -0.6]


def test_runs_are_jobs_with_everything_filled_in(sessions: Sessions) -> None:
    played = Played(
        sessions, seeds=2, prune=False, training={"epochs": 3, "seed": 40}, network={"layers": 2},
        metadata={"team": "ops"}, max_parallel=6,
    )  # fmt: skip
    started = played.step().started
    assert len(started) == 6
    assert played.job().status == Status.RUNNING
    runs = [played.job(job_id) for job_id in started]
    assert [(run.trial or {})["number"] for run in runs] == [0, 0, 1, 1, 2, 2]
    assert [run.training["seed"] for run in runs] == [40, 41] * 3
    assert not any("judged_by" in run.training for run in runs)
    assert {run.training["split_seed"] for run in runs} == {40}  # all are compared on the same split
    assert [run.network["cell"] for run in runs] == ["rnn", "rnn", "lstm", "lstm", "gru", "gru"]
    for run in runs:
        assert (run.kind, run.status, run.sweep_id, run.model) == ("train", Status.QUEUED, played.id, "m")
        assert (run.network["layers"], run.network["dropout"], run.training["epochs"]) == (2, 0.1, 3)
        assert (run.options["horizon"], run.job_metadata) == (4, {"team": "ops"})


def test_no_more_run_at_once_than_are_allowed(sessions: Sessions) -> None:
    played = Played(sessions, max_parallel=3)
    assert len(played.step().started) == 3
    assert played.step().started == ()
    leases_ = [played.claim(run.job_id) for run in played.runs()[:2]]
    assert played.step().started == ()
    played.finish(leases_[0], 0.5)
    assert len(played.step().started) == 1
    assert len(played.state().live) == 3


@pytest.mark.parametrize(("workers", "parallel"), [(0, 2), (1, 2), (4, 4)])
def test_by_default_each_worker_has_a_run(sessions: Sessions, workers: int, parallel: int) -> None:
    with sessions.begin() as session:
        for number in range(workers):
            facts: Json = {"device": "cpu", "host": "h", "pid": number, "loaded": []}
            session.add(Worker(id=f"w{number}", role="train", **facts))
        session.add(Worker(id="s", role="serve", device="cpu", host="h", pid=99, loaded=[]))
    assert len(Played(sessions).step().started) == parallel


def test_first_runs_come_first_and_other_seeds_follow_those_that_hold_their_own(sessions: Sessions) -> None:
    played = Played(sessions, max_parallel=1, seeds=2)
    order = []
    while not played.step().ended:
        (run,) = played.runs(Status.QUEUED)
        order.append((run.number, run.seed))
        played.play(GOOD)
    assert order == [(0, 7), (0, 8), (1, 7), (1, 8), (2, 7), (2, 8)]


def test_no_worker_idles_while_first_runs_are_under_way(sessions: Sessions) -> None:
    played = Played(sessions, max_parallel=5, seeds=3)
    assert len(played.step().started) == 5
    assert [(run.number, run.seed) for run in played.runs()] == [(0, 7), (0, 8), (0, 9), (1, 7), (2, 7)]


def test_a_diverged_run_is_the_worst_and_fails_nobody(sessions: Sessions) -> None:
    played = Played(sessions, seeds=2)
    done = played.to_the_end(by_cell(rnn=0.9, lstm=math.inf, gru=0.7))
    assert done.status == Status.SUCCEEDED
    board = [(trial.parameters["network.cell"], trial.status) for trial in played.state().trials]
    assert sorted(board) == [("gru", "succeeded"), ("lstm", "failed"), ("rnn", "succeeded")]
    assert len(played.runs()) == 5  # the diverged trial got no second run
    assert played.state().ranked[0].parameters == {"network.cell": "gru"}
    assert (done.progress or {})["fraction"] == 1.0


def test_a_trial_with_a_failed_run_ranks_behind_whole_ones_but_may_win_alone(sessions: Sessions) -> None:
    def value(run: Any) -> float:
        return math.inf if run.seed == 8 and run.parameters["network.cell"] != "rnn" else GOOD(run) or 0.0

    played = Played(sessions, seeds=2)
    assert played.to_the_end(value).status == Status.SUCCEEDED
    assert [trial.parameters["network.cell"] for trial in played.state().ranked] == ["rnn", "lstm", "gru"]
    alone = Played(sessions, seeds=2, model="other", search={"network.cell": ["lstm", "gru"]})
    assert alone.to_the_end(value).status == Status.SUCCEEDED
    assert alone.state().ranked[0].parameters == {"network.cell": "lstm"}


@pytest.mark.parametrize(
    ("value", "cause"),
    [(math.inf, r"the first one that failed: The loss is NaN. \(diverged\)"), (None, "no validation split")],
)
def test_a_sweep_without_any_result_fails_with_a_cause(
    sessions: Sessions, value: float | None, cause: str
) -> None:
    done = Played(sessions, seeds=2).to_the_end(lambda _: value)
    assert (done.status, done.error_code) == (Status.FAILED, "no_result")
    assert pytest.approx(1.0) == (done.progress or {})["fraction"]
    with pytest.raises(AssertionError, match=cause):
        raise AssertionError(done.error_message)
    with sessions() as session:
        assert session.scalars(select(ModelVersion)).all() == []


def test_a_sweep_whose_runs_were_all_cancelled_by_hand_says_so(sessions: Sessions) -> None:
    played = Played(sessions, search={"network.cell": ["gru"]}, seeds=1)
    (job_id,) = played.step().started
    played.cancel(job_id)
    assert played.step().ended
    assert "cancelled" in (played.job().error_message or "")
    assert played.state().trials[0].status == "cancelled"


def test_a_trial_that_falls_behind_is_pruned_with_all_its_runs(sessions: Sessions) -> None:
    def prune(curve: LossCurve) -> bool:
        return min(curve.values()) > 2

    script = Scripted(prune=prune)
    played = Played(sessions, script, max_parallel=4, seeds=2, training={"epochs": 10})
    played.step()
    first = {run.parameters["network.cell"]: run.job_id for run in played.runs() if run.seed == 7}
    second = next(run.job_id for run in played.runs() if run.seed == 8)  # of the first trial: the RNN
    lease = played.claim(first["rnn"])
    played.report(lease, 3.0, 2.5)
    assert played.step().started == ()
    assert script.warmups == {3}  # a quarter of its epochs
    assert played.job(second).status == Status.CANCELLED
    assert played.job(first["rnn"]).cancel_requested_at is not None
    assert (played.job(first["rnn"]).trial or {})["stopped"] == "pruned"
    with sessions() as session:
        logged = [
            event.data for event in queries.list_events(session, first["rnn"], 0, 50) if event.type == "log"
        ]
    assert logged == [
        {"message": "Pruned: its validation loss after 2 epochs is worse than the median of other runs"}
    ]
    with sessions.begin() as session:  # the worker obeys
        assert leases.end(session, lease, Status.CANCELLED)
    done = played.to_the_end(GOOD)
    assert (done.status, done.progress) == (
        Status.SUCCEEDED, {"fraction": 1.0, "runs": 6, "total": 6, "eta_seconds": 0.0},
    )  # fmt: skip
    assert script.results == [] or script.results[0].value is None
    state = played.state()
    assert [trial.status for trial in state.trials] == ["pruned", "succeeded", "succeeded"]
    assert {event["status"] for event in played.events("run")} == {"pruned", "succeeded"}


def test_only_first_runs_are_pruned_and_only_on_request(sessions: Sessions) -> None:
    for prune in (True, False):
        script = Scripted(prune=lambda _: True)
        played = Played(sessions, script, prune=prune, max_parallel=1, seeds=2, model=f"m{prune}")
        played.step()
        played.play(GOOD, 9.0)  # the first run has ended well
        played.step()
        (run,) = played.runs(Status.QUEUED)
        assert run.seed == 8
        played.report(played.claim(run.job_id), 9.0, 9.0)
        played.step()
        assert played.job(run.job_id).cancel_requested_at is None
        played.cancel()
        with sessions.begin() as session:
            session.execute(update(Job).where(Job.status == Status.RUNNING).values(lease_until=0.0))
            reaper.reap(session)


def test_a_curve_is_that_of_the_first_fit(sessions: Sessions) -> None:
    played = Played(sessions)
    job_id = played.step().started[0]
    lease = played.claim(job_id)
    played.report(lease, 5.0, phase="pretrain", stage=0)
    played.report(lease, 0.9, 0.8, phase="fit", stage=1, member=0)
    played.report(lease, 0.7, 0.6, 0.5, phase="fit", stage=2, member=1)
    played.report(lease, 0.1, phase="refit", stage=3, member=0)
    with sessions() as session:
        assert advance.loss_curve(session, job_id) == {1: 0.9, 2: 0.8}


def test_the_sampler_gets_every_result(sessions: Sessions) -> None:
    points = [{"training.learning_rate": rate} for rate in (0.1, 0.2, 0.3, 0.4, 0.5)]
    script = Scripted(points)
    search = {"training.learning_rate": {"min": 0.001, "max": 1.0}}
    played = Played(sessions, script, search=search, seeds=1, max_parallel=3, max_trials=5)
    played.step()
    ended, failed, lasting = played.runs()
    played.finish(played.claim(ended.job_id), 0.5)
    played.finish(played.claim(failed.job_id), math.inf)
    played.step()
    results = [(one.parameters["training.learning_rate"], one.value, one.running) for one in script.results]
    assert results == [(0.1, 0.5, False), (0.2, None, False), (0.3, None, True)]
    assert [run.parameters["training.learning_rate"] for run in played.runs()] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert lasting.live


def test_what_was_tried_or_does_not_fit_is_not_begun(sessions: Sessions) -> None:
    """The longest series has 60 observations."""
    points = [{"options.horizon": horizon} for horizon in (4, 4, 59, 5)]
    search = {"options.horizon": {"min": 1, "max": 10}}
    played = Played(
        sessions, Scripted(points), search=search, options={}, metric="smape", seeds=1, max_parallel=9
    )
    played.step()
    assert [run.parameters["options.horizon"] for run in played.runs()] == [4, 5]
    assert played.to_the_end(lambda _: 0.5).status == Status.SUCCEEDED  # nothing else is left to pick


def test_a_sweep_ends_in_time_with_the_best_so_far(sessions: Sessions) -> None:
    played = Played(sessions, max_seconds=100, max_parallel=2, prune=False)
    played.step()
    first, second = played.runs()
    played.finish(played.claim(first.job_id), 0.5)
    lease = played.claim(second.job_id)
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == played.id).values(started_at=db_now() - 101))
    assert played.step().started == ()
    assert played.job(second.job_id).cancel_requested_at is not None
    assert not played.step().ended
    with sessions.begin() as session:
        leases.end(session, lease, Status.CANCELLED)
    assert played.step().ended
    assert (played.job().status, played.state().trials[0].status) == (Status.SUCCEEDED, "incomplete")


def test_a_cancelled_sweep_takes_its_runs_along(sessions: Sessions) -> None:
    played = Played(sessions, max_parallel=3)
    played.step()
    first, second, _ = played.runs()
    played.finish(played.claim(first.job_id), 0.5)
    lease = played.claim(second.job_id)
    with sessions() as session:
        before = look(session)
    for _ in range(2):
        played.cancel()
    assert played.job().status == Status.CANCELLED
    assert [run.status for run in played.runs()] == ["succeeded", "running", "cancelled"]
    assert played.state().live[0].cancelling
    with sessions.begin() as session:
        with pytest.raises(Conflict, match="still running"):
            queries.delete_job(session, played.id)
        assert leases.complete(session, lease, {}, outcome(lease, 0.1)) is False
        assert leases.end(session, lease, Status.CANCELLED)
    assert played.step().started == ()
    assert not played.step().ended
    with sessions() as session:
        check_change(before, look(session))
        assert advance.active(session) == []


def test_a_paused_sweep_begins_nothing_until_it_is_resumed(sessions: Sessions) -> None:
    played = Played(sessions, max_parallel=2)
    played.step()
    first, second = played.runs()
    lease = played.claim(first.job_id)
    with sessions.begin() as session:
        assert control.pause(session, played.id).status == Status.PAUSED
    assert played.job(first.job_id).pause_requested_at is not None
    assert played.job(second.job_id).status == Status.PAUSED
    played.finish(lease, 0.5)  # it was done before it could pause
    assert played.step().started == ()
    with sessions.begin() as session:
        assert control.resume(session, played.id).status == Status.QUEUED
        assert leases.next_queued(session, ["cpu"]) == second.job_id
    assert len(played.step().started) == 1
    assert (played.job().status, played.job().attempt) == (Status.RUNNING, 2)
    assert played.to_the_end(GOOD).status == Status.SUCCEEDED


def test_no_worker_claims_a_sweep_and_no_reaper_takes_it(sessions: Sessions) -> None:
    played = Played(sessions)
    with sessions.begin() as session:
        assert leases.next_queued(session, ["cpu"]) is None
        assert leases.claim(session, played.id, "w1", 60) is None
        assert reaper.unnotified(session, None) == []
    played.step()
    with sessions.begin() as session:
        assert reaper.expired_leases(session) == []
        assert reaper.reap(session) == []
        assert len(reaper.unnotified(session, None)) == 2
    assert played.job().status == Status.RUNNING


def test_a_sweep_is_deleted_with_its_runs_and_no_run_alone(sessions: Sessions) -> None:
    played = Played(sessions, seeds=1)
    with sessions.begin() as session, pytest.raises(Conflict, match="cancel it first"):
        queries.delete_job(session, played.id)
    played.to_the_end(GOOD)
    with sessions.begin() as session:
        with pytest.raises(Conflict, match=f"a run of {played.id}"):
            queries.delete_job(session, played.runs()[0].job_id)
        queries.delete_job(session, played.id)
    assert all_jobs(sessions) == []
    with sessions() as session:
        assert session.get_one(ModelVersion, ("default", "m", 1)).network["cell"] == "lstm"


def test_a_lost_worker_costs_a_run_an_attempt_and_the_sweep_nothing(sessions: Sessions) -> None:
    played = Played(sessions, seeds=1, max_parallel=1)
    (job_id,) = played.step().started
    played.claim(job_id)
    expire(sessions, job_id)
    with sessions.begin() as session:
        assert reaper.reap(session) == [job_id]
    assert played.step().started == ()
    assert played.to_the_end(GOOD).status == Status.SUCCEEDED
    assert played.job(job_id).attempt == 2


def test_a_step_that_breaks_off_is_as_if_it_had_not_been_tried(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played(sessions, seeds=1, max_parallel=9)
    played.step()
    played.play(GOOD)
    publish = versions.publish

    def lost(*arguments: Any) -> int:
        publish(*arguments)
        raise OperationalError("commit", {}, OSError("away"))

    with sessions() as session:
        before = look(session)
    monkeypatch.setattr(versions, "publish", lost)
    with pytest.raises(OperationalError):
        played.step()
    monkeypatch.undo()
    with sessions() as session:
        assert look(session) == before
    assert played.step().ended
    assert played.job().model_version == 1
    assert not played.step().ended  # a second time there is nothing to end


def test_what_two_decide_at_once_is_done_once(sessions: Sessions) -> None:
    played = Played(sessions, max_parallel=2)
    with sessions() as session:
        contexts = [advance.load(session, played.id, {}) for _ in range(2)]
    plans = [decide(context, Scripted(), Scripted()) for context in contexts]
    applied = []
    for context, plan in zip(contexts, plans, strict=True):
        with sessions.begin() as session:
            applied.append(advance.apply(session, context, plan))
    assert [len(one.started) for one in applied] == [2, 0]
    assert len(played.runs()) == 2


def has_work(played: Played, deadline: float) -> bool:
    """Whether there is something to do, and time for it; who asks without a pause starves the others."""
    time.sleep(0.005)
    return played.job().status in LIVE and time.monotonic() < deadline


def advance_until(played: Played, deadline: float) -> None:
    """Advance a sweep to its end, beside others."""
    own = Played.__new__(Played)
    own.sessions, own.script, own.cache, own.id = played.sessions, Scripted(), {}, played.id
    while has_work(played, deadline):
        own.step()


def work(played: Played, deadline: float, name: int) -> None:
    """Run what is queued until there is no more of it; every third job is released first."""
    taken = 0
    while has_work(played, deadline):
        with played.sessions.begin() as session:
            job_id = leases.next_queued(session, ["cpu"])
            job = leases.claim(session, job_id, f"w{name}", 60) if job_id else None
        if job is None or job.trial is None:
            continue
        taken += 1
        lease = Lease(job.id, job.attempt)
        if taken % 3 == 0:
            with played.sessions.begin() as session:
                leases.release(session, lease, crashed=False)
        else:
            layers = job.trial["parameters"]["network.layers"]
            played.finish(lease, 1.0 / layers + job.trial["seed"] / 1000)


def test_many_runners_and_workers_bring_a_sweep_to_one_end(sessions: Sessions) -> None:
    played = Played(sessions, seeds=2, max_parallel=3, search={"network.layers": {"min": 1, "max": 4}})
    with ThreadPoolExecutor(6) as pool:
        deadline = time.monotonic() + 60
        ends = [pool.submit(advance_until, played, deadline) for _ in range(3)]
        ends += [pool.submit(work, played, deadline, name) for name in range(3)]
        for end in ends:
            end.result()
    runs = [(run.number, run.seed) for run in played.runs()]
    assert runs == [(number, seed) for number in range(4) for seed in (7, 8)]
    assert played.job().status == Status.SUCCEEDED
    with sessions() as session:
        (version,) = session.scalars(select(ModelVersion))
    assert version.network["layers"] == 4
    assert len(played.events("run")) == 8


def test_a_sweep_that_cannot_go_on_fails_with_its_runs(sessions: Sessions) -> None:
    played = Played(sessions)
    played.step()
    with sessions.begin() as session:
        advance.fail(session, played.id, "internal", "KeyError: 'x'")
        advance.fail(session, played.id, "internal", "again")
    assert (played.job().status, played.job().error_code, played.job().error_message) == (
        Status.FAILED, "internal", "KeyError: 'x'",
    )  # fmt: skip
    assert all(run.status in TERMINAL for run in played.runs())


def test_progress_counts_runs_and_guesses_the_time_left(sessions: Sessions) -> None:
    played = Played(sessions, seeds=2, max_parallel=2, prune=False)
    played.step()
    assert played.job().progress == {"fraction": 0.0, "runs": 0, "total": 6, "eta_seconds": None}
    first, second = played.runs()
    played.finish(played.claim(first.job_id), 0.5)
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == first.job_id).values(started_at=Job.finished_at - 30))
    played.finish(played.claim(second.job_id), math.inf)
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == second.job_id).values(started_at=Job.finished_at - 30))
    revision = played.job().revision
    played.step()
    now = played.job()
    assert now.progress == {"fraction": 0.3333, "runs": 2, "total": 6, "eta_seconds": 60.0}
    assert now.metrics == {"valid_loss": 0.5}
    assert now.revision > revision
    played.step()
    assert played.job().revision == now.revision  # nothing happened
