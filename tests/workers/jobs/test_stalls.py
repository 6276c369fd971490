"""When a child counts as stalled, on a clock that the tests set: not because the supervisor was frozen."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from app.database.engine import Sessions
from app.database.tables import Job
from app.infrastructure.storage import Storage
from app.typedefs import Json
from tests.app.services.jobs.test_leases import submit
from workers.jobs import supervisor
from workers.jobs.supervisor import FROZEN_SECONDS, Supervisor, Timeouts

STALL_SECONDS = 100.0
PROGRESS: Json = {"type": "progress", "fraction": 0.5}
FAILED: Json = {"type": "failed", "code": "diverged", "message": "The loss is not finite"}
SECOND_OF_SILENCE: tuple[float, Json] = (1.0, {})

Polls = Sequence[tuple[float, Json]]  # how long each took, and the message that came; empty for none


class ScriptedChild:
    """A child process whose messages, and the time until each, are given."""

    polls: ClassVar[Iterator[tuple[float, Json]]]
    now: ClassVar[float]

    def __init__(self, _: object, request: Json, on_line: object) -> None:
        del request, on_line
        self.pid = os.getpid()

    @classmethod
    def monotonic(cls) -> float:
        return cls.now

    def next_message(self, _: float) -> Json | None:
        seconds, message = next(self.polls, (0.0, None))
        ScriptedChild.now += seconds
        return message

    def request_stop(self) -> None:
        """It does not react."""

    def end(self, _: float) -> None:
        """It has ended."""


@pytest.fixture
def run(
    sessions: Sessions, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Polls], Job]:
    def supervise(polls: Polls) -> Job:
        (tmp_path / "arrays.npz").write_bytes(b"arrays")
        storage.put("datasets/ds_1/arrays/arrays.npz", tmp_path / "arrays.npz")
        with sessions.begin() as session:
            job_id = submit(session, device="cpu")
        ScriptedChild.polls, ScriptedChild.now = iter(polls), 0.0
        monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=ScriptedChild.monotonic))
        monkeypatch.setattr(supervisor, "ChildProcess", ScriptedChild)
        monkeypatch.setattr(supervisor, "SpawnedProcess", lambda command, **_: command)
        timeouts = Timeouts(stall=STALL_SECONDS)
        Supervisor(
            sessions, storage, tmp_path / "work", "worker_1", timeouts, ["cpu"], lambda: False, ["child"]
        ).run()
        with sessions() as session:
            return session.get_one(Job, job_id)

    return supervise


def test_a_child_that_says_nothing_for_too_long_is_stalled(run: Callable[[Polls], Job]) -> None:
    silence = [SECOND_OF_SILENCE] * round(STALL_SECONDS + 2)
    assert run([(1.0, PROGRESS), *silence, (1.0, FAILED)]).error_code == "stalled"


def test_a_child_that_says_something_in_time_is_not(run: Callable[[Polls], Job]) -> None:
    silence = [SECOND_OF_SILENCE] * round(STALL_SECONDS - 2)
    polls = [(1.0, PROGRESS), *silence, (1.0, PROGRESS), *silence, (1.0, FAILED)]
    assert run(polls).error_code == "diverged"


@pytest.mark.parametrize("seconds", [FROZEN_SECONDS + 1, STALL_SECONDS + 1, 100 * STALL_SECONDS])
def test_a_supervisor_that_was_frozen_does_not_call_its_child_stalled(
    run: Callable[[Polls], Job], seconds: float
) -> None:
    """It was perhaps frozen with it, as when the machine slept; the child gets all of its time again."""
    silence = [SECOND_OF_SILENCE] * round(STALL_SECONDS - 2)
    polls = [(1.0, PROGRESS), *silence, (seconds, {}), *silence, (1.0, FAILED)]
    assert run(polls).error_code == "diverged"
