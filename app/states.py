"""Job states; terminal ones never change."""

from enum import StrEnum


class Status(StrEnum):
    """What a job's row says."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
LIVE = frozenset(Status) - TERMINAL

SWEEP = "sweep"  # the kind of job that no worker claims: it is advanced by whoever looks
