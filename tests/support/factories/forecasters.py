"""Versions that forecast, trained on a table, and a predictor that answers as an untrained network would."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from app.infrastructure.artifacts import digest_stored
from app.lanes import Reply, ReplyStatus, Request, Tensor
from app.prediction.codec import Codec
from app.services import datasets
from app.services.jobs import leases
from app.services.models.versions import TrainingOutcome
from app.tasks.contract import Plan
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from tests.support.factories.networks import lstm, store
from tests.support.fakes.lanes import FakePredictor, fake_predictor
from tests.support.fixtures.service import Service, upload


def plan_of(table: bytes, columns: dict[str, str] | None = None, **options: Any) -> Plan:
    """The plan of a training on a CSV."""
    with TemporaryDirectory() as directory:
        arrived = upload(Path(directory), table, columns=columns or {})
        datasets.ingest(arrived, 60)
        with np.load(arrived.path.parent / "arrays" / "arrays.npz") as stored:
            arrays = dict(stored)
    return TASK.plan(arrays, ForecastingOptions(**options), 0)


def publish(
    running: Service,
    directory: Path,
    plan: Plan,
    model: str = "demand",
    columns: dict[str, str] | None = None,
) -> None:
    """A version whose manifest a forecast can be made from."""
    lease = running.claim(running.job(model=model))
    prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
    for path in sorted(store(directory, lstm(), state=plan.state, columns=columns or {}).iterdir()):
        running.state.storage.put(f"{prefix}/{path.name}", path)
    sha256 = digest_stored(running.state.storage, prefix)
    with running.state.sessions.begin() as session:
        leases.succeed(session, lease, TrainingOutcome(prefix, 12, 345, sha256, {}, {}))


@contextmanager
def forecasting(running: Service, plan: Plan) -> Iterator[FakePredictor]:
    """A predictor whose network corrects nothing."""

    def answer(request: Request) -> Reply:
        zeros = [Tensor.of(np.zeros(plan.outputs, np.float32)) for _ in request.instances]
        return Reply(request.id, ReplyStatus.OK, zeros, 0.0, 0.0)

    codec = Codec(TASK, plan.state)
    with fake_predictor(running.settings.redis, running.settings.lane, answer, codec) as made:
        yield made
