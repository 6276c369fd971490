"""Tells an experiment tracker of trainings, in a thread of its own: what fails there reaches no job."""

import logging
import queue
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from app.typedefs import Json
from workers.tracking.runs import RunStore, TrackedJob, epoch_figures, final_figures

log = logging.getLogger(__name__)

MAX_WAITING = 1_000  # entries of a job that is written more slowly than it trains; further ones are left out
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 30.0
MAX_ERROR_CHARS = 300
URL_USER = re.compile(r"(://)[^/\s@]+@")
GIVE_UP_SECONDS = 300.0  # of failures in a row, after which the rest of a job is not tracked


class TrackingEntry(NamedTuple):
    """Something to write of a job."""

    job_id: str
    write: Callable[[RunStore], None]
    is_first: bool  # of an attempt


class Tracker:
    """Writes jobs to the store that `connect` makes at the first of them, or to none.

    What cannot be written is tried again for a while, then the rest of that job is left out.
    """

    def __init__(
        self,
        connect: Callable[[], RunStore] | None,
        *,
        first_retry_seconds: float = FIRST_RETRY_SECONDS,
        give_up_seconds: float = GIVE_UP_SECONDS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._connect = connect
        self._first_retry_seconds, self._give_up_seconds = first_retry_seconds, give_up_seconds
        self._entries: queue.Queue[TrackingEntry] = queue.Queue(max_waiting)
        self._runs: dict[str, str] = {}  # by job
        self._abandoned: str | None = None  # the job whose rest is left out
        self._store: RunStore | None = None
        self._thread: threading.Thread | None = None

    def begin(self, job: TrackedJob) -> None:
        """A job, or another attempt at it, begins."""
        self._put(job.id, partial(self._open, job), is_first=True)

    def record(self, job_id: str, message: Json) -> None:
        """A message of a job's child; those that are no figures are ignored."""
        match message.get("type"):
            case "epoch":
                self._log(job_id, epoch_figures(message), int(message["epoch"]))
            case "done":
                self._log(job_id, final_figures(message), 0)

    def end(self, job_id: str, status: str | None) -> None:
        """A job ended with this status, or its attempt did: None."""
        self._put(job_id, partial(self._close, job_id, status))

    def flush(self, seconds: float) -> bool:
        """Wait until all is written, `seconds` at most; returns whether it is."""
        deadline = time.monotonic() + seconds
        with self._entries.all_tasks_done:
            while self._entries.unfinished_tasks:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._entries.all_tasks_done.wait(left)
        return True

    def _log(self, job_id: str, figures: dict[str, float], step: int) -> None:
        at = time.time()
        if figures:
            self._put(job_id, lambda store: store.log(self._runs[job_id], figures, step, at))

    def _put(self, job_id: str, write: Callable[[RunStore], None], *, is_first: bool = False) -> None:
        if self._connect is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tracker", daemon=True)
            self._thread.start()
        try:
            self._entries.put_nowait(TrackingEntry(job_id, write, is_first))
        except queue.Full:
            log.warning("tracking: an entry is left out, as too many wait", extra={"job_id": job_id})

    def _run(self) -> None:
        while True:
            entry = self._entries.get()
            if entry.is_first:
                self._abandoned = None
            if entry.job_id != self._abandoned and not self._is_written(entry):
                self._abandoned = entry.job_id
                self._runs.pop(entry.job_id, None)
            self._entries.task_done()

    def _is_written(self, entry: TrackingEntry) -> bool:
        """Write an entry, again and again for a while; whether that succeeded."""
        pause, deadline = self._first_retry_seconds, time.monotonic() + self._give_up_seconds
        while True:
            try:
                if self._store is None and self._connect is not None:
                    self._store = self._connect()
                if self._store is not None:
                    entry.write(self._store)
            except Exception as error:  # noqa: BLE001 - whatever a tracker's client raises
                place = {"job_id": entry.job_id}
                if time.monotonic() + pause > deadline:
                    log.warning("tracking given up: %s", _in_words(error), extra=place)
                    return False
                log.info("tracking: %s", _in_words(error), extra=place)
                time.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_SECONDS)
            else:
                return True

    def _open(self, job: TrackedJob, store: RunStore) -> None:
        self._runs[job.id] = store.open(job)

    def _close(self, job_id: str, status: str | None, store: RunStore) -> None:
        store.close(self._runs[job_id], status)
        del self._runs[job_id]


def _in_words(error: Exception) -> str:
    """An error for the worker's log, in one short line and without the password of a URL."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return URL_USER.sub(r"\1…@", text)[:MAX_ERROR_CHARS]
