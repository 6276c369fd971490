"""Job states; terminal ones never change."""

from enum import StrEnum


class Status(StrEnum):
    """The status of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
LIVE = frozenset(Status) - TERMINAL

EVALUATE = "evaluate"  # a kind of job that compares versions
SWEEP = "sweep"  # a kind of job that no worker claims: any training worker advances it
