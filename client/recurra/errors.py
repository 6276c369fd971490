"""What can go wrong, as exceptions with one root, `RecurraError`."""

from typing import Any, ClassVar

Json = dict[str, Any]  # an object of JSON


class RecurraError(Exception):
    """The root of all errors of this package: also a response that no Recurra server gives."""


class ServerNotFound(RecurraError):
    """No server answers at the URL, which is in the message."""


class ConnectionLost(RecurraError):
    """The connection broke, or no answer came in time."""


class InvalidInput(RecurraError, ValueError):
    """What was passed cannot be sent, such as a frame without the column that was named."""


class RequestRefused(RecurraError):
    """A response with status 400 or more; `problem` is its problem document (RFC 9457).

    The message has the detail, the status, and a line for each error with its pointer into the request.
    """

    status: ClassVar[int | None] = None  # of a subclass

    def __init__(self, problem: Json) -> None:
        self.problem = problem
        lines = [f"{self.detail} ({problem.get('status')})"]
        lines += [f"  {error.get('pointer')}: {error.get('detail')}" for error in self.errors]
        super().__init__("\n".join(lines))

    @property
    def detail(self) -> str:
        """The first fault, as a sentence."""
        problem = self.problem
        return str(problem.get("detail") or problem.get("title") or problem.get("status"))

    @property
    def errors(self) -> list[Json]:
        """Every fault: `{"pointer": …, "detail": …}`."""
        return [error for error in self.problem.get("errors") or [] if isinstance(error, dict)]

    @property
    def request_id(self) -> str | None:
        """The id under which the server logged the request."""
        return self.problem.get("request_id")


class NotAuthenticated(RequestRefused):
    """The server wants a key, or does not know this one."""

    status = 401


class PermissionDenied(RequestRefused):
    """The key lacks the scope that the request needs."""

    status = 403


class NotFound(RequestRefused):
    """There is no such object in the key's project."""

    status = 404


class Conflict(RequestRefused):
    """The object's state does not allow it."""

    status = 409


class InvalidRequest(RequestRefused):
    """The server understood the request, and it is wrong; `errors` says where."""

    status = 422


class LimitReached(RequestRefused):
    """Too many requests, or a limit of the key; it was tried again before."""

    status = 429


class Unavailable(RequestRefused):
    """A part of the service is away; it was tried again before."""

    status = 503


class DeadlinePassed(RequestRefused):
    """The prediction was not ready within its time."""

    status = 504


BY_STATUS: dict[int | None, type[RequestRefused]] = {
    kind.status: kind
    for kind in (
        NotAuthenticated, PermissionDenied, NotFound, Conflict, InvalidRequest, LimitReached, Unavailable,
        DeadlinePassed,
    )
}  # fmt: skip


def refused(problem: Json) -> RequestRefused:
    """The error of a problem document, of the class of its status."""
    return BY_STATUS.get(problem.get("status"), RequestRefused)(problem)


class JobFailed(RecurraError):
    """A job that was waited for has failed or was cancelled; `job` is its last state, as JSON."""

    def __init__(self, job: Json) -> None:
        self.job = job
        error = job.get("error") or {}
        reason = f": {error['message']} ({error['code']})" if error else ""
        super().__init__(f"The job {job['id']} {job['status']}{reason}")
