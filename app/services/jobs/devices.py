"""Devices as a part of the queue: which worker may run which job, and who can run a request.

A job asks for `auto`, `cpu`, `cuda` (any CUDA device) or one of them, `cuda:1`. A worker has its CPU and, in
the order in which it prefers them, the devices of its row: `cpu`, or `cuda:0,cuda:1`.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job, Worker
from app.errors import Problem
from app.infrastructure.broker import ANYWHERE, TRAIN
from app.infrastructure.liveness import LIVE_SECONDS

AUTO, CPU = ANYWHERE
CUDA = "cuda"


def accepted(devices: Sequence[str]) -> list[str]:
    """Return what a job may ask for to be run by a worker with these devices."""
    cuda = [device for device in devices if device.startswith(CUDA)]
    return [*ANYWHERE, *([CUDA] if cuda else []), *cuda]


def requested_device() -> ColumnElement[str]:
    """Return the SQL of what a job asks for; a job that is no training asks for nothing, which is `auto`."""
    device: ColumnElement[str] = Job.training["device"].as_string()
    return func.coalesce(device, AUTO)


def runnable(devices: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a worker with these devices can run a job."""
    return requested_device().in_(accepted(devices))


def choose(requested: str, devices: Sequence[str]) -> str:
    """Return the device on which a worker runs a job that it has claimed."""
    if requested == AUTO:
        return devices[0]
    if requested == CUDA:
        return next(device for device in devices if device.startswith(CUDA))
    return requested


def live_devices(session: Session) -> list[tuple[str, ...]]:
    """Return the devices of each live training worker."""
    query = select(Worker.device).where(Worker.role == TRAIN, Worker.last_seen > db_now() - LIVE_SECONDS)
    return [tuple(device.split(",")) for device in session.scalars(query)]


def check_device(session: Session, requested: str, at: str) -> list[Problem]:
    """Return a problem at the pointer `at` if workers live, and none of them can run what is requested.

    While none lives, the job may wait for the first.
    """
    if requested in ANYWHERE:
        return []
    fleet = live_devices(session)
    if not fleet or any(requested in accepted(devices) for devices in fleet):
        return []
    there = ", ".join(sorted({device for devices in fleet for device in devices}))
    detail = f"no training worker has {requested}, they have {there}: leave it out, or ask for auto"
    return [Problem(at, detail)]
