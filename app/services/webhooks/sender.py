"""Sends what is due to webhooks, in threads of its own.

Every API process has a sender. A webhook is leased to one of them at a time, so that its deliveries go out
one after the other, and a slow receiver delays only its own.
"""

import logging
import threading
import time
from importlib.metadata import version

import httpcore
from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Sessions
from app.infrastructure.outages import OutageLog
from app.infrastructure.periodic_thread import PeriodicThread
from app.services.webhooks import deliveries
from app.services.webhooks.deliveries import Attempt, Outcome
from app.services.webhooks.signatures import signed_headers
from app.services.webhooks.targets import AllowedTargets, TargetRefused
from app.services.webhooks.transport import post

log = logging.getLogger(__name__)

DUE_POLL_SECONDS = 1.0  # between two looks at what is due
SENDING_THREADS = 4
TURN_SECONDS = 25.0  # after which another webhook has its turn; an attempt more still ends within the lease
MAX_STOP_WAIT_SECONDS = 2.0


class WebhookSender:
    """Sends deliveries of all projects to allowed targets, from `start` to `stop`."""

    def __init__(
        self, sessions: Sessions, targets: AllowedTargets, poll_seconds: float = DUE_POLL_SECONDS
    ) -> None:
        self._sessions, self._targets = sessions, targets
        self._agent = f"Recurra/{version('recurra')}"
        self._thread = PeriodicThread("webhooks", self._start_turns, poll_seconds, 0.0)
        self._turns: dict[str, threading.Thread] = {}  # by the webhook that each has
        self._stopping = self._stopped = False
        self._outage = OutageLog(log, "webhooks")

    def start(self) -> None:
        """Start the threads."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and wait a little for what is being sent.

        The database is not used afterwards: what is not recorded then is sent again by others.
        """
        self._stopping = True
        deadline = time.monotonic() + MAX_STOP_WAIT_SECONDS
        self._thread.stop(MAX_STOP_WAIT_SECONDS)
        for turn in list(self._turns.values()):
            turn.join(max(deadline - time.monotonic(), 0.0))
        self._stopped = True

    def _start_turns(self) -> None:
        try:
            with self._sessions() as session:
                due = deliveries.due_webhooks(session, SENDING_THREADS + len(self._turns))
        except SQLAlchemyError as error:
            self._outage.failed(error)
            return
        self._outage.worked()
        for webhook_id in due:
            if webhook_id not in self._turns and len(self._turns) < SENDING_THREADS:
                taken = (webhook_id,)
                turn = threading.Thread(target=self._take_turn, args=taken, name="webhook", daemon=True)
                self._turns[webhook_id] = turn
                turn.start()

    def _take_turn(self, webhook_id: str) -> None:
        """Send what is due to one webhook, as long as its turn lasts."""
        try:
            self.send_due(webhook_id)
        except SQLAlchemyError as error:
            self._outage.failed(error)  # the lease expires, and what was sent is sent again
        except Exception:
            log.exception("webhook %s", webhook_id)
        finally:
            del self._turns[webhook_id]

    def send_due(self, webhook_id: str) -> int:
        """Send what is due to one webhook, unless another process does; how many attempts were made."""
        with self._sessions.begin() as session:
            if not deliveries.lease(session, webhook_id):
                return 0
        attempts, deadline = 0, time.monotonic() + TURN_SECONDS
        while not self._stopping and time.monotonic() < deadline:
            with self._sessions.begin() as session:
                attempt = deliveries.next_attempt(session, webhook_id)
            if attempt is None:
                break
            outcome = self._send(attempt)
            attempts += 1
            if self._stopped:
                return attempts
            with self._sessions.begin() as session:
                deliveries.record(session, attempt, outcome)
        with self._sessions.begin() as session:
            deliveries.release(session, webhook_id)
        return attempts

    def _send(self, attempt: Attempt) -> Outcome:
        headers = {
            "content-type": "application/json",
            "user-agent": self._agent,
            **signed_headers(attempt.secret, attempt.delivery_id, int(time.time()), attempt.body),
        }
        try:
            status = post(self._targets, attempt.url, headers, attempt.body)
        except TargetRefused as error:
            return Outcome(None, str(error))
        except (httpcore.TimeoutException, TimeoutError):
            return Outcome(None, "no answer in time")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return Outcome(None, f"{type(error).__name__}: {error}")
        outcome = Outcome(status)
        return outcome if outcome.succeeded else Outcome(status, f"the answer is {status}")
