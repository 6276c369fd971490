"""The estimate of a training's memory: never more than it takes, and the advice where there is too little."""

from collections.abc import Iterator

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Dataset, Job, Worker
from app.errors import Invalid, Problem
from app.hyperparameters.options import NETWORK, TRAINING
from app.schemas import JobIn
from app.services.jobs import submission, workers
from app.services.jobs.memory_estimate import estimate
from app.tasks import TASKS
from app.tasks.workload import SizedTask, Workload
from app.typedefs import Json

GIB = 1 << 30
TEXT: Json = {"documents": 1, "characters": 4_700_000, "train_characters": 4_700_000, "trainable": True}
HUGE: Json = {"batch_size": 65_536, "bptt_steps": 100_000}


@pytest.fixture
def session(sessions: Sessions) -> Iterator[Session]:
    with sessions() as opened:
        row = {"name": "n", "format": "txt", "bytes": 1, "sha256": "0", "filename": "f", "warnings": []}
        opened.add(Dataset(id="ds_1", task="generation", summary=TEXT, **row))
        opened.flush()
        yield opened


def report(session: Session, memory: int | None, device: str = "cpu", name: str = "w") -> None:
    facts = {"role": "train", "host": "h", "pid": 1, "loaded": []}
    workers.report_alive(session, Worker(id=name, device=device, memory_bytes=memory, **facts))


def submit(session: Session, **training: object) -> Job:
    fields = {"task": "generation", "dataset": "ds_1", "model": "m", "options": {"tokens": "word"}}
    return submission.submit(session, JobIn.model_validate(fields | {"training": HUGE | training}))


def refused(session: Session, **training: object) -> list[Problem]:
    with pytest.raises(Invalid) as caught:
        submit(session, **training)
    return caught.value.problems


def test_a_training_that_needs_more_than_any_worker_has_is_refused_with_what_would_fit(
    session: Session,
) -> None:
    report(session, 16 * GIB)
    report(session, 2 * GIB, name="smaller")
    problems = refused(session)
    assert [problem.pointer for problem in problems] == [
        "/training/batch_size", "/training/bptt_steps", "/network/hidden_size",
    ]  # fmt: skip
    assert all("a worker has 16 GiB; " in problem.detail for problem in problems)
    assert "GiB for weights and optimizer" in problems[0].detail
    steps = int(problems[1].detail.split("with at most ")[1].split(" ")[0].replace(",", ""))
    assert 64 < steps < 100_000
    assert submit(session, batch_size=1, bptt_steps=steps).status == "queued"
    assert submit(session, batch_size=32, bptt_steps=64).status == "queued"


@pytest.mark.parametrize(
    ("memory", "device", "requested"),
    [
        (None, "cpu", "auto"),  # a worker of an older release
        (GIB, "cuda:0", "auto"),  # the memory of GPUs is not known
        (GIB, "cuda:0", "cuda"),
        (1 << 50, "cpu", "cpu"),
    ],
)
def test_what_may_fit_is_not_refused(
    session: Session, memory: int | None, device: str, requested: str
) -> None:
    assert submit(session).status == "queued"  # no worker lives
    report(session, memory, device)
    assert submit(session, device=requested).status == "queued"


def test_a_training_on_the_cpu_is_refused_where_a_gpu_might_do(session: Session) -> None:
    report(session, 16 * GIB, "cuda:0")
    assert len(refused(session, device="cpu")) == 3


def test_a_worker_that_is_gone_has_no_say(session: Session) -> None:
    report(session, GIB)
    session.execute(update(Worker).values(last_seen=0.0))
    assert submit(session).status == "queued"


def test_every_task_tells_its_workload() -> None:
    assert all(isinstance(task, SizedTask) for task in TASKS.values())


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"hidden_size": 128}, "weights"),
        ({"layers": 2}, "weights"),
        ({"bidirectional": True}, "activations"),
        ({"batch_size": 256}, "outputs"),
        ({"ensemble": 8}, "weights"),
    ],
)
def test_larger_settings_need_more(change: Json, part: str) -> None:
    load = Workload(1_000, 50, "/options/max_length", 32, 10, stepwise=True, vocabulary=100)

    def needed(**changes: object) -> int:
        network = NETWORK | {name: value for name, value in changes.items() if name in NETWORK}
        training = TRAINING | {name: value for name, value in changes.items() if name in TRAINING}
        count: int = getattr(estimate(load, network, training), part)
        return count

    assert needed(**change) > needed()
