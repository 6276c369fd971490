"""Owns a training child: beats the lease while it trains, passes its news on, and ends the job.

The child may hang, crash or run out of memory; the truth in the database does not go with it.
"""

import hashlib
import json
import logging
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from app.db import Sessions
from app.errors import AppError
from app.processes import signal_group
from app.services import leases
from app.services.leases import Lease, Orders
from app.services.models import Outcome
from app.states import Status
from app.storage import Storage
from app.tables import Job

log = logging.getLogger(__name__)

Json = dict[str, Any]

PULSE = 0.4  # seconds between two looks at what the database orders
STOP_GRACE = 2.0  # seconds a child has to come to a step boundary
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TORCH_CPP_LOG_LEVEL": "ERROR"}
EXIT_GRACE = 1.0  # seconds from its last message, or from a stop it did not heed


@dataclass(frozen=True)
class Ending:
    """How the child ended: its last message, or none when it died, and why it was stopped, if it was."""

    message: Json
    reason: str | None  # "cancelled", "released", "fenced"


class Child:
    """The training process and the two pipes to it."""

    def __init__(self, command: Sequence[str], request: Json) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | ENVIRONMENT,
        )
        self._messages: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="child-reader", daemon=True)
        self._reader.start()
        if self._process.stdin is not None:
            with suppress(OSError):  # it died at once: the end of its messages tells
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()

    def message(self, seconds: float) -> Json | None:
        """What it says next; empty when it says nothing for so long, None when it has ended."""
        try:
            return self._messages.get(timeout=seconds)
        except queue.Empty:
            return {}

    def ask_to_stop(self) -> None:
        """Have it stop at its next step."""
        self._process.send_signal(signal.SIGTERM)

    def end(self, seconds: float) -> None:
        """Let it exit for `seconds`, then kill it and whatever it started."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            try:
                self._messages.put(json.loads(line))
            except json.JSONDecodeError:
                log.warning("not a message: %.200s", line)
        self._messages.put(None)


@dataclass
class News:
    """What the child said since the last beat."""

    progress: Json | None = None
    metrics: Json | None = None
    events: list[tuple[str, Json]] = field(default_factory=list)

    def note(self, message: Json) -> None:
        """Sort one message in."""
        data = {name: value for name, value in message.items() if name != "type"}
        match message["type"]:
            case "progress":
                self.progress = {name: value for name, value in data.items() if name != "train_loss"}
            case "epoch":
                self.metrics = {name: data[name] for name in ("train_loss", "valid_loss") if name in data}
                self.events.append(("epoch", data))
            case kind:
                self.events.append((kind, data))


class Supervisor:
    """Runs one job from claim to end."""

    def __init__(
        self,
        sessions: Sessions,
        storage: Storage,
        work_dir: Path,
        owner: str,
        lease_seconds: float,
        device: str,
        stopping: Callable[[], bool],
        command: Sequence[str] = (sys.executable, "-m", "workers.child"),
    ) -> None:
        self._sessions = sessions
        self._storage = storage
        self._work_dir = work_dir
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._device = device
        self._stopping = stopping
        self._command = command

    def run(self, job_id: str) -> None:
        """Claim the job and see it through; a job that somebody else has is left alone."""
        with self._sessions.begin() as session:
            job = leases.claim(session, job_id, self._owner, self._lease_seconds)
        if job is None:
            return
        lease = Lease(job.id, job.attempt)
        self._work_dir.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=f"{job.id}-{job.attempt}-", dir=self._work_dir))
        try:
            self._run(job, lease, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _run(self, job: Job, lease: Lease, directory: Path) -> None:
        data, out = directory / "data", directory / "out"
        out.mkdir()
        try:
            self._storage.fetch(f"datasets/{job.dataset_id}/arrays", data)
        except AppError:
            self._end(
                lease, Status.FAILED, "dataset_missing", "The data set was deleted before the job began"
            )
            return
        child = Child(self._command, {"spec": self._spec(job), "data_dir": str(data), "out_dir": str(out)})
        try:
            ending = self._watch(child, lease)
        finally:
            child.end(EXIT_GRACE)
        self._conclude(lease, ending, out)

    def _spec(self, job: Job) -> Json:
        training = dict(job.training)
        if training["device"] == "auto":
            training["device"] = self._device
        return {"task": job.task, "network": job.network, "training": training, "options": job.options}

    def _watch(self, child: Child, lease: Lease) -> Ending:
        news, reason = News(), None
        last: Json = {}
        beaten = heard = time.monotonic()
        deadline = float("inf")
        while time.monotonic() < deadline and (message := child.message(PULSE / 4)) is not None:
            if message.get("type") in {"done", "failed", "stopped"}:
                last = message
            elif message:
                news.note(message)
            if time.monotonic() - beaten < PULSE:
                continue
            beaten = time.monotonic()
            try:
                orders, news, heard = self._beat(lease, news), News(), beaten
                wanted = self._wanted(orders)
            except SQLAlchemyError as error:
                log.warning("beat: %s", error, extra={"job_id": lease.job_id})
                wanted = "fenced" if beaten - heard > self._lease_seconds / 2 else None
            if wanted is not None and reason is None:
                reason, deadline = wanted, beaten + STOP_GRACE
                child.ask_to_stop()
        with suppress(SQLAlchemyError):
            self._beat(lease, news)
        return Ending(last, reason)

    def _wanted(self, orders: Orders | None) -> str | None:
        if orders is None:
            return "fenced"  # somebody else has the job now
        if orders.cancel:
            return "cancelled"
        return "released" if self._stopping() else None

    def _beat(self, lease: Lease, news: News) -> Orders | None:
        with self._sessions.begin() as session:
            return leases.beat(session, lease, self._lease_seconds, news.progress, news.metrics, news.events)

    def _conclude(self, lease: Lease, ending: Ending, out: Path) -> None:
        kind = ending.message.get("type")
        if ending.reason == "fenced":
            return
        if ending.reason == "cancelled":
            self._end(lease, Status.CANCELLED)
        elif kind == "done":
            self._publish(lease, ending.message, out)
        elif kind == "failed":
            self._end(lease, Status.FAILED, ending.message["code"], ending.message["message"])
        else:
            with self._sessions.begin() as session:
                leases.give_back(session, lease, crashed=ending.reason is None)

    def _publish(self, lease: Lease, message: Json, out: Path) -> None:
        artifact = f"artifacts/{lease.job_id}/{lease.attempt}"
        files = sorted(path for path in out.iterdir() if path.is_file())
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.read_bytes())
            self._storage.put(f"{artifact}/{path.name}", path)
        outcome = Outcome(
            artifact=artifact,
            parameters=message["parameters"],
            bytes=sum(path.stat().st_size for path in files),
            sha256=digest.hexdigest(),
            metrics=message["metrics"],
            baseline=message["baseline"],
        )
        with self._sessions.begin() as session:
            version = leases.succeed(session, lease, outcome)
        if version is None:
            self._storage.delete(artifact)
            self._end(lease, Status.CANCELLED)  # nothing happens when it was taken away instead

    def _end(self, lease: Lease, status: Status, code: str | None = None, message: str = "") -> None:
        with self._sessions.begin() as session:
            leases.end(session, lease, status, code=code, message=message)
