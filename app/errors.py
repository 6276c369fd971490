"""One error root: a message, an HTTP status and a stable code; nothing here knows a web framework."""

from collections.abc import Sequence
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing wrong with what the caller sent: where (an RFC 6901 JSON pointer) and what."""

    pointer: str
    detail: str


def pointer(*steps: str | int) -> str:
    """A JSON pointer (RFC 6901) of these steps into the request."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def describe_problems(problems: Sequence[Problem]) -> str:
    """The first problem with its place, and how many more there are; empty without problems."""
    if not problems:
        return ""
    first, more = problems[0], len(problems) - 1
    text = f"{first.pointer}: {first.detail}" if first.pointer else first.detail
    return f"{text} (and {more} more)" if more else text


class AppError(Exception):
    """An error the caller can act on.

    Its default message is the first of its problems, or else the docstring of its class.
    """

    status = 500
    code = "internal"
    retry_after: int | None = None

    def __init__(self, message: str | None = None, problems: Sequence[Problem] = ()) -> None:
        self.problems = list(problems)
        self.message = message or describe_problems(self.problems) or (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class Unauthenticated(AppError):
    """This request needs a key: `Authorization: Bearer rk_…`."""

    status = 401
    code = "unauthenticated"


class Forbidden(AppError):
    """This caller may not make this request."""

    status = 403
    code = "forbidden"


class NotFound(AppError):
    """The resource does not exist."""

    status = 404
    code = "not-found"


class ModelNotTrained(NotFound):
    """The model has no version yet: its first training has not ended."""

    code = "model-not-trained"
    retry_after = 5


class Conflict(AppError):
    """The present state forbids this request."""

    status = 409
    code = "conflict"


class Invalid(AppError):
    """The request does not fit the schema or the data it names."""

    status = 422
    code = "invalid-request"


class DatasetInvalid(Invalid):
    """The file cannot be used."""

    code = "dataset-invalid"

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> "DatasetInvalid":
        """The error for some problems, whose message names the first of them."""
        return cls(f"The file cannot be used: {describe_problems(problems)}", problems)


class Misdirected(AppError):
    """The request is for a host that this server does not answer for."""

    status = 421
    code = "misdirected-request"


class UnsupportedMediaType(AppError):
    """The body is of a kind that is not read here."""

    status = 415
    code = "unsupported-media-type"


class TooLarge(AppError):
    """The body is larger than this server accepts."""

    status = 413
    code = "too-large"


class QueueFull(AppError):
    """Too many predictions are waiting; try again shortly."""

    status = 429
    code = "queue-full"
    retry_after = 1


class LimitReached(AppError):
    """This key has reached one of its limits."""

    status = 429
    code = "limit-reached"

    def __init__(self, message: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(AppError):
    """A part of the service is unavailable; try again shortly."""

    status = 503
    code = "unavailable"
    retry_after = 2


class DeadlinePassed(AppError):
    """The deadline of the request passed before it was answered."""

    status = 504
    code = "deadline-passed"


class PredictionFailed(AppError):
    """The model could not compute this prediction."""

    code = "prediction-failed"


class ModelDamaged(AppError):
    """The files of this model version are not those that its training stored."""

    code = "model-damaged"


class NoSpace(AppError):
    """The server has no disk space left to store this."""

    status = 507
    code = "no-space"
