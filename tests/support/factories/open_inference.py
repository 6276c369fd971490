"""Versions to serve by the Open Inference Protocol, and what their networks are."""

from functools import cache
from pathlib import Path

import numpy as np

from app.infrastructure.artifacts import digest_stored
from app.lanes import Reply, ReplyStatus, Request, Tensor
from app.services.jobs import leases
from app.services.models.versions import TrainingOutcome
from app.tasks.contract import Plan
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from tests.support.factories.networks import lstm, store
from tests.support.factories.series import series_set, waves
from tests.support.fixtures.service import Service

HORIZON = 4


@cache
def forecasting() -> Plan:
    """A plan to forecast four steps with."""
    return TASK.plan(series_set(waves(4, 60)).arrays(), ForecastingOptions(horizon=HORIZON), 0)


def publish(running: Service, directory: Path, model: str = "demand", seed: int = 0) -> int:
    """A version with a small network of the right width and a manifest that describes it."""
    plan = forecasting()
    lease = running.claim(running.job(model=model))
    prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
    network = lstm(features=plan.features, width=plan.outputs, seed=seed)
    graph = {"features": plan.features, "width": plan.outputs}
    for path in sorted(store(directory, network, task=TASK.name, state=plan.state, onnx=graph).iterdir()):
        running.state.storage.put(f"{prefix}/{path.name}", path)
    sha256 = digest_stored(running.state.storage, prefix)
    with running.state.sessions.begin() as session:
        version = leases.succeed(session, lease, TrainingOutcome(prefix, 12, 345, sha256, {}, {}))
    assert version is not None
    return version


class Network:
    """Answers with the sum of each sequence's steps times `echo`: with 0 like an untrained network."""

    def __init__(self) -> None:
        self.status = ReplyStatus.OK
        self.echo = 0.0

    def __call__(self, request: Request) -> Reply:
        width = forecasting().outputs
        rows = [np.resize(tensor.array().sum(axis=0), width) for tensor in request.instances]
        outputs = [Tensor.of(np.float32(self.echo) * row) for row in rows]
        return Reply(request.id, self.status, outputs, 0.0015, 0.00225, "why not", len(outputs))


def sequences(batch: int, time: int, seed: int = 0) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Random inputs (batch, time, features) of the network."""
    return np.random.default_rng(seed).normal(size=(batch, time, forecasting().features)).astype(np.float32)
