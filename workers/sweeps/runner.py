"""The thread that advances all active sweeps.

Every training worker runs one, so that no sweep stops when a worker dies; of what several decide at once
only one plan is applied.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError

from app.database.engine import Sessions
from app.errors import NotFound
from app.infrastructure.outages import OutageLog
from app.infrastructure.periodic_thread import PeriodicThread
from app.infrastructure.storage import Storage
from app.services.jobs import checkpoints
from app.services.sweeps import advance
from app.services.sweeps.policy import LossCurve, TrialPruner, TrialSampler, decide
from workers.sweeps.optuna_sampler import OptunaPruner, OptunaSampler

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0  # between two passes over all sweeps
STOP_SECONDS = 2.0  # that `stop` waits for a pass to end
MAX_ERROR_CHARS = 500
PERMANENT_ERRORS = (DataError, IntegrityError, ProgrammingError)  # database errors that a retry cannot cure


@dataclass
class SweepCache:
    """What is known of a sweep already; any other worker reads the same from the database and the store."""

    curves: dict[str, LossCurve] = field(default_factory=dict)  # by job id, of runs that ended
    discarded: set[str] = field(default_factory=set)  # ids of runs whose files are deleted
    outage: OutageLog = field(default_factory=lambda: OutageLog(log, "A sweep cannot be advanced now"))


class SweepRunner:
    """Advances every active sweep once a tick, in a thread of its own."""

    def __init__(
        self,
        sessions: Sessions,
        readers: Sessions,
        storage: Storage,
        notify: Callable[[str], None],
        sampler: TrialSampler | None = None,
        pruner: TrialPruner | None = None,
        tick: float = TICK_SECONDS,
    ) -> None:
        self._sessions, self._readers, self._storage = sessions, readers, storage
        self._notify = notify  # wakes a worker up for a queued job
        self._sampler, self._pruner = sampler or OptunaSampler(), pruner or OptunaPruner()
        self._caches: dict[str, SweepCache] = {}  # by sweep id
        self._outage = OutageLog(log, "Sweeps cannot be advanced now")
        self._thread = PeriodicThread("sweeps", self.advance_all, tick)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; a pass under way is given `STOP_SECONDS` to end."""
        self._thread.stop(STOP_SECONDS)

    def advance_all(self) -> None:
        """Advance all active sweeps once; an outage of the database only delays them."""
        try:
            with self._readers() as session:
                active = advance.active(session)
            self._caches = {sweep_id: self._caches.get(sweep_id, SweepCache()) for sweep_id in active}
            for sweep_id, cache in self._caches.items():
                self._advance_or_fail(sweep_id, cache)
        except SQLAlchemyError as error:
            self._outage.failed(error)
        else:
            self._outage.worked()

    def _advance_or_fail(self, sweep_id: str, cache: SweepCache) -> None:
        try:
            self._advance(sweep_id, cache)
            cache.outage.worked()
        except NotFound:
            pass  # it was deleted meanwhile
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and not isinstance(error, PERMANENT_ERRORS):
                cache.outage.failed(f"{sweep_id}: {error}")
                return
            # Any other error would come back on the next pass, and on every other worker.
            log.exception("The sweep failed", extra={"job_id": sweep_id})
            message = f"{type(error).__name__}: {error}".splitlines()[0][:MAX_ERROR_CHARS]
            with self._sessions.begin() as session:
                advance.fail(session, sweep_id, "internal", message)

    def _advance(self, sweep_id: str, cache: SweepCache) -> None:
        with self._readers() as session:
            context = advance.load(session, sweep_id, cache.curves)
        plan = decide(context, self._sampler, self._pruner)  # slow, so that no transaction is open meanwhile
        with self._sessions.begin() as session:
            applied = advance.apply(session, context, plan)
        for job_id in applied.started:
            self._notify(job_id)
        self._discard(context.state.discardable(ended=applied.ended), cache)

    def _discard(self, runs: list[str], cache: SweepCache) -> None:
        """Delete the files of runs that have lost; the janitor finds what could not be deleted here."""
        for job_id in runs:
            if job_id in cache.discarded:
                continue
            try:
                self._storage.delete(f"artifacts/{job_id}")
                self._storage.delete(checkpoints.prefix(job_id))
                cache.discarded.add(job_id)
            except Exception as error:  # noqa: BLE001 - each kind of store raises errors of its own
                log.warning("The run's files were not deleted: %s", error, extra={"job_id": job_id})
