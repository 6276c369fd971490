"""When a request is sent again, and how long it waits before."""

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from recurra.errors import RecurraError, ServerNotFound, refused
from recurra.protocol.problems import parse_problem
from recurra.protocol.steps import Attempt, Call, Flow, Wait

BUSY = 429  # nothing was done: any request may be sent again
AWAY = frozenset({502, 503})  # a part of the service, or the server behind a proxy
IN_PROGRESS = 409  # of a creating request that is sent again: the first one with its key still runs
IN_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True)
class Retries:
    """How often, and for how long: waits double, and a part of each is random so that clients spread.

    A `Retry-After` is waited for, up to `max_wait_seconds`; a longer one is an error at once.
    """

    count: int = 4
    first_wait_seconds: float = 0.2
    max_wait_seconds: float = 60.0

    def wait_seconds(self, attempt: int, at_least: float = 0.0) -> float | None:
        """The wait after attempt number `attempt`, from 0 up; None where it was the last one."""
        if attempt >= self.count or at_least > self.max_wait_seconds:
            return None
        longest = min(self.first_wait_seconds * 2**attempt, self.max_wait_seconds)
        return at_least + random.uniform(longest / 2, longest)  # noqa: S311 - no secret


def send_with_retries(call: Call, retries: Retries, *, stream: bool = False) -> Flow[httpx.Response]:
    """The response to a call, of a status below 400; raises the error of the last attempt."""
    attempt = 0
    while True:
        error: RecurraError
        try:
            response: httpx.Response = yield Attempt(call, stream)
        except RecurraError as lost:
            error = lost
            unsent = isinstance(lost, ServerNotFound)
            wait = retries.wait_seconds(attempt) if unsent or call.repeatable else None
        else:
            if response.status_code < httpx.codes.BAD_REQUEST:
                return response
            error = refused(parse_problem(response))
            wait = _wait_seconds(call, response, retries, attempt)
        if wait is None:
            raise error
        yield Wait(wait)
        attempt += 1


def _wait_seconds(call: Call, response: httpx.Response, retries: Retries, attempt: int) -> float | None:
    """How long to wait after a refusal; None where the request is not to be sent again."""
    status = response.status_code
    if status == IN_PROGRESS and call.keyed and attempt > 0:
        return retries.wait_seconds(attempt, IN_PROGRESS_SECONDS)
    again = status == BUSY or (call.repeatable and status in AWAY)
    return retries.wait_seconds(attempt, retry_after(response)) if again else None


def retry_after(response: httpx.Response) -> float:
    """The seconds that `Retry-After` names, as a number or a date (RFC 9110); 0 without it."""
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
