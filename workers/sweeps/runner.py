"""Lets sweeps go on, in a thread of its own.

Every training worker runs one: whatever several decide at once only one of them does, and no sweep waits
because one of them died.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError

from app.database.engine import Sessions
from app.errors import NotFound
from app.infrastructure.storage import Storage
from app.services.jobs import checkpoints
from app.services.sweeps import advance
from app.services.sweeps.policy import Curve, Picker, decide
from workers.sweeps.optuna_sampler import Optuna

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between two looks
LEAVE = 2.0  # seconds that stopping waits for a look to end
LASTING = (DataError, IntegrityError, ProgrammingError)  # errors of the database that will not heal


@dataclass
class Memory:
    """What need not be looked up again; another worker finds it all in the database and the store."""

    curves: dict[str, Curve] = field(default_factory=dict)
    discarded: set[str] = field(default_factory=set)  # runs whose files are deleted


class Conductor:
    """Looks at every sweep, and lets each go on."""

    def __init__(
        self,
        sessions: Sessions,
        readers: Sessions,
        storage: Storage,
        ring: Callable[[str], None],
        picker: Picker | None = None,
        tick: float = TICK,
    ) -> None:
        self._sessions, self._readers, self._storage = sessions, readers, storage
        self._ring, self._picker, self._tick = ring, picker or Optuna(), tick
        self._known: dict[str, Memory] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="conductor", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=LEAVE)

    def _run(self) -> None:
        while not self._stop.wait(self._tick):
            self.look()

    def look(self) -> None:
        """Let all sweeps go on; an outage of the database only makes it late."""
        try:
            with self._readers() as session:
                going = advance.going(session)
            self._known = {sweep_id: self._known.get(sweep_id, Memory()) for sweep_id in going}
            for sweep_id, known in self._known.items():
                self._guarded_advance(sweep_id, known)
        except SQLAlchemyError as error:
            log.warning("sweeps: %s", error)

    def _guarded_advance(self, sweep_id: str, known: Memory) -> None:
        try:
            self._advance(sweep_id, known)
        except NotFound:
            pass  # it was deleted meanwhile
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and not isinstance(error, LASTING):
                log.warning("sweep: %s", error, extra={"job_id": sweep_id})
                return
            # What is wrong now is wrong the next time too, and for every worker.
            log.exception("sweep", extra={"job_id": sweep_id})
            message = f"{type(error).__name__}: {error}".splitlines()[0][:500]
            with self._sessions.begin() as session:
                advance.fail(session, sweep_id, "internal", message)

    def _advance(self, sweep_id: str, known: Memory) -> None:
        with self._readers() as session:
            view = advance.look(session, sweep_id, known.curves)
        step = decide(view, self._picker)  # takes its time, so that no transaction is open meanwhile
        with self._sessions.begin() as session:
            done = advance.carry_out(session, view, step)
        for job_id in done.begun:
            self._ring(job_id)
        self._discard(view.standing.spent(ended=done.ended), known)

    def _discard(self, runs: list[str], known: Memory) -> None:
        """Delete what was made by runs that have lost; what is left, the janitor finds."""
        for job_id in runs:
            if job_id in known.discarded:
                continue
            try:
                self._storage.delete(f"artifacts/{job_id}")
                self._storage.delete(checkpoints.prefix(job_id))
                known.discarded.add(job_id)
            except Exception as error:  # noqa: BLE001 - whatever a store raises
                log.warning("discard: %s", error, extra={"job_id": job_id})
