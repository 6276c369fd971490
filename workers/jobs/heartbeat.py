"""A job's heartbeat: a thread renews the lease and passes news on, whatever its owner waits for meanwhile."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Sessions
from app.services.jobs import leases
from app.services.jobs.leases import Lease, Orders
from app.typedefs import Json

log = logging.getLogger(__name__)


PULSE = 0.4  # seconds between two beats
SILENCE = 0.5  # of the lease: after so long without a beat the owner must let go, before others may take over


class Order(StrEnum):
    """Why a job has to stop."""

    CANCELLED = "cancelled"
    PAUSED = "paused"
    RELEASED = "released"  # the worker stops
    UNHEARD = "unheard"  # the database is away
    TAKEN = "taken"  # the lease is not ours any more


@dataclass
class News:
    """What a job's child said since the last beat."""

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
                self.metrics = data.get("metrics", self.metrics)
                self.events.append((kind, data))

    def then(self, later: "News") -> "News":
        """These news and later ones."""
        progress = self.progress if later.progress is None else later.progress
        metrics = self.metrics if later.metrics is None else later.metrics
        return News(progress, metrics, self.events + later.events)


class Heart:
    """Beats from `start` to `stop`."""

    def __init__(
        self, sessions: Sessions, lease: Lease, seconds: float, stopping: Callable[[], bool]
    ) -> None:
        self._sessions, self._lease, self._seconds = sessions, lease, seconds
        self._stopping = stopping
        self._news, self._guard = News(), threading.Lock()
        self._beating = threading.Lock()
        self._orders: Orders | None = Orders(cancel=False)
        self._heard = time.monotonic()  # when the last beat was answered
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        """The lease was just claimed."""
        self._thread.start()

    def note(self, message: Json) -> None:
        """Tell this with the next beat."""
        with self._guard:
            self._news.note(message)

    @property
    def order(self) -> Order | None:
        """Why to stop, if there is a reason; asked of this process's memory, never of the database."""
        orders = self._orders
        if orders is None:
            return Order.TAKEN
        if orders.cancel:
            return Order.CANCELLED
        if time.monotonic() - self._heard > SILENCE * self._seconds:
            return Order.UNHEARD
        if orders.pause:
            return Order.PAUSED
        return Order.RELEASED if self._stopping() else None

    @property
    def lease(self) -> Lease:
        """What it keeps alive."""
        return self._lease

    def beat(self) -> bool:
        """Tell what is still to be told, now: the job is about to end. False when nobody could be told."""
        with self._beating:
            return self._orders is None or self._beat()

    def stop(self) -> None:
        """Beat no more."""
        self._ended.set()
        self._thread.join(timeout=self._seconds)

    def _run(self) -> None:
        while not self._ended.wait(PULSE):
            self.beat()

    def _beat(self) -> bool:
        with self._guard:
            news, self._news = self._news, News()
        begun = time.monotonic()
        try:
            with self._sessions.begin() as session:
                told = (news.progress, news.metrics, news.events)
                self._orders = leases.beat(session, self._lease, self._seconds, *told)
        except SQLAlchemyError as error:
            log.warning("beat: %s", error, extra={"job_id": self._lease.job_id})
            with self._guard:
                self._news = news.then(self._news)
            return False
        self._heard = begun
        return True
