"""Guards: the rule by hand, every problem by its name, and moves that happen or do not."""

from typing import Any

import pytest
from sqlalchemy import update

from app.database.engine import Sessions
from app.database.tables import Job
from app.errors import AppError, Conflict, Invalid, NotFound
from app.schemas import GuardIn
from app.services.models import aliases
from app.states import Status
from app.typedefs import Json
from tests.app.services.jobs.test_leases import submit
from tests.app.services.models.test_aliases import at
from tests.app.services.models.test_versions import publish


def figure(value: float | None, low: float | None = None, high: float | None = None) -> Json:
    return {"value": value, "low": low, "high": high}


METRICS: Json = {
    "higher_is_better": {"smape": False, "f1": True, "alone": False},
    "versions": {
        "1": {"smape": figure(10.0), "f1": figure(0.8)},
        "2": {"smape": figure(12.0), "f1": figure(0.7)},
        "3": {"smape": figure(10.1), "f1": figure(0.9)},
    },
    "differences": [
        {
            "of": "2", "minus": "1",
            "metrics": {"smape": figure(2.0, 1.5, 2.6), "f1": figure(-0.1, -0.2, -0.05)},
        },
        {"of": "3", "minus": "1", "metrics": {"smape": figure(0.1, -0.3, 0.5), "f1": figure(0.1)}},
        {"of": "3", "minus": "2", "metrics": {"smape": figure(-1.9, -2.5, -1.4), "f1": figure(0.2)}},
    ],
}  # fmt: skip


@pytest.fixture
def evaluation(sessions: Sessions) -> str:
    assert [publish(sessions) for _ in range(4)] == [1, 2, 3, 4]
    with sessions.begin() as session:
        job_id = submit(session)
        values = {"kind": "evaluate", "model": "m", "status": Status.SUCCEEDED, "metrics": METRICS}
        session.execute(update(Job).where(Job.id == job_id).values(**values))
    return job_id


def guarded(sessions: Sessions, evaluation: str, metric: str = "smape", **target: Any) -> dict[str, float]:
    with sessions.begin() as session:
        guard = GuardIn(evaluation=evaluation, metric=metric)
        return aliases.move(session, "m", "production", at(**target), guard).versions


def refused(sessions: Sessions, error: type[AppError], *args: Any, **target: Any) -> AppError:
    with pytest.raises(error) as caught:
        guarded(sessions, *args, **target)
    with sessions() as session:
        assert aliases.get(session, "m", "production").versions == {"1": 1.0}
    return caught.value


@pytest.mark.parametrize("metric", ["smape", "f1"])
def test_a_worse_version_is_refused_with_both_figures(
    sessions: Sessions, evaluation: str, metric: str
) -> None:
    error = refused(sessions, Conflict, evaluation, metric, version=2)
    (problem,) = error.problems
    assert problem.pointer == "/guard/metric"
    ours, theirs = (METRICS["versions"][name][metric]["value"] for name in "21")
    assert f"version 2 has {metric} {ours}, version 1 has {theirs}" in problem.detail
    assert problem.detail in error.message


def test_what_is_not_shown_to_be_worse_passes(sessions: Sessions, evaluation: str) -> None:
    assert guarded(sessions, evaluation, version=3) == {"3": 1.0}  # the interval includes zero
    assert guarded(sessions, evaluation, version=1) == {"1": 1.0}  # and backwards
    assert guarded(sessions, evaluation, "f1", version=3) == {"3": 1.0}  # no interval, but better
    with pytest.raises(Conflict):
        guarded(sessions, evaluation, "f1", version=1)  # no interval, and worse
    with pytest.raises(Conflict, match="version 2 has smape"):
        guarded(sessions, evaluation, version=2)  # the pair is there the other way around
    assert guarded(sessions, evaluation, version=3) == {"3": 1.0}  # nothing changes


def test_versions_whose_share_grows_are_compared_with_those_whose_share_falls(
    sessions: Sessions, evaluation: str
) -> None:
    refused(sessions, Conflict, evaluation, versions={"1": 0.9, "2": 0.1})
    split = guarded(sessions, evaluation, versions={"1": 0.9, "3": 0.1})
    assert split == {"1": 0.9, "3": 0.1}
    error = None
    try:
        guarded(sessions, evaluation, versions={"2": 0.5, "3": 0.5})
    except Conflict as caught:
        error = caught
    assert error is not None
    assert [problem.detail.partition(" has")[0] for problem in error.problems] == ["version 2"]
    assert guarded(sessions, evaluation, version=1) == {"1": 1.0}


def test_a_new_alias_replaces_nothing(sessions: Sessions, evaluation: str) -> None:
    with sessions.begin() as session:
        guard = GuardIn(evaluation=evaluation, metric="smape")
        assert aliases.move(session, "m", "next", at(version=2), guard).version == 2
        with pytest.raises(Invalid):
            aliases.move(session, "m", "newest", at(version=4), guard)


def test_every_problem_has_its_name(sessions: Sessions, evaluation: str) -> None:
    def problem(error: AppError) -> tuple[str, str]:
        return error.problems[0]

    assert problem(refused(sessions, NotFound, "job_none", version=3)) == (
        "/guard/evaluation", "there is no job job_none",
    )  # fmt: skip
    lacks = problem(refused(sessions, Invalid, evaluation, version=4))
    assert lacks == ("/guard/evaluation", "it has evaluated version 1, 2, 3, not 4")
    unknown = problem(refused(sessions, Invalid, evaluation, "smap", version=3))
    assert unknown[0] == "/guard/metric"
    assert "smape" in unknown[1]
    # A metric that one of the versions does not have cannot show that it is not worse.
    refused(sessions, Conflict, evaluation, "alone", version=3)
    for change, error, words in (
        ({"status": Status.RUNNING}, Conflict, "running"),
        ({"status": Status.FAILED}, Conflict, "failed"),
        ({"model": "other"}, Invalid, "evaluation of the model other"),
        ({"kind": "train"}, Invalid, "of kind train"),
    ):
        with sessions.begin() as session:
            session.execute(update(Job).where(Job.id == evaluation).values(**change))
        pointer, detail = problem(refused(sessions, error, evaluation, version=3))
        assert (pointer, words in detail) == ("/guard/evaluation", True)
        with sessions.begin() as session:
            values = {"kind": "evaluate", "model": "m", "status": Status.SUCCEEDED}
            session.execute(update(Job).where(Job.id == evaluation).values(**values))


def test_an_evaluation_of_another_project_does_not_exist(sessions: Sessions, evaluation: str) -> None:
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == evaluation).values(project="theirs"))
    refused(sessions, NotFound, evaluation, version=3)
