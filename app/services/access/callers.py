"""Callers: in which project a request is made, and what it may do there."""

from dataclasses import dataclass
from enum import StrEnum

from app.database.projects import DEFAULT_PROJECT
from app.errors import Forbidden


class Scope(StrEnum):
    """What a key may do; none includes another."""

    READ = "read"
    PREDICT = "predict"
    TRAIN = "train"
    ADMIN = "admin"


@dataclass(frozen=True)
class KeyLimits:
    """What a key may use; None is without a limit. Jobs and bytes are those that were made with it."""

    requests_per_second: float | None = None
    queued_jobs: int | None = None
    running_jobs: int | None = None
    stored_bytes: int | None = None


@dataclass(frozen=True)
class Caller:
    """Who makes a request: a key, or anyone where none are needed."""

    project: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    key_name: str = ""
    limits: KeyLimits = KeyLimits()

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden` for a scope that the caller does not have."""
        if scope not in self.scopes:
            granted = ", ".join(sorted(self.scopes)) or "none"
            raise Forbidden(f"This request needs a key with the scope {scope}; this one has {granted}")


ANYONE = Caller(DEFAULT_PROJECT, frozenset(Scope))  # without authentication
