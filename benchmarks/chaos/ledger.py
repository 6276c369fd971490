"""What was done to the service, and what it answered: the account that its own is compared with."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One fault; times of time.time, which is the database's clock on one machine."""

    kind: str
    begun: float
    ended: float
    job_id: str | None = None  # that it struck


@dataclass
class Ledger:
    """Written by all threads of the run."""

    log: Path
    accepted: dict[str, str] = field(default_factory=dict)  # job id -> the setting it asks for
    numbers: dict[int, str] = field(default_factory=dict)  # of a submission -> the job that it became
    faults: list[Fault] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)  # whose cancellation was accepted
    doubtful: set[str] = field(default_factory=set)  # whose cancellation got no answer
    statuses: Counter[str] = field(default_factory=Counter)  # of HTTP answers
    wrong: list[str] = field(default_factory=list)  # seen while it went on
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, begun: float, job_id: str | None = None) -> None:
        """A fault has just ended."""
        fault = Fault(kind, begun, time.time(), job_id)
        with self._lock:
            self.faults.append(fault)
            with self.log.open("a") as file:
                file.write(f"{begun:.3f} {fault.ended - begun:6.3f} {kind} {job_id or ''}\n")

    def accept(self, number: int, job_id: str, setting: str) -> None:
        """A submit was answered with 202."""
        with self._lock:
            if self.numbers.setdefault(number, job_id) != job_id:
                self.wrong.append(f"one Idempotency-Key made {self.numbers[number]} and {job_id}")
            self.accepted[job_id] = setting

    def answered(self, what: str, status: int) -> None:
        """Count an answer."""
        with self._lock:
            self.statuses[f"{what} {status or 'no answer'}"] += 1
            if status >= 500 and status != 503:
                self.wrong.append(f"{what} was answered with {status}")

    def struck(self, job_id: str, kinds: frozenset[str]) -> int:
        """How often a job was hit by such faults."""
        with self._lock:
            return sum(fault.job_id == job_id and fault.kind in kinds for fault in self.faults)
