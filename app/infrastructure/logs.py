"""Logging as one JSON object a line."""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType

import orjson

from app.times import rfc3339

POOL_LOGGER = "multiprocessing"  # of billiard, Celery's pool


LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})


@dataclass(frozen=True)
class LogLine:
    """A line of a log: seconds since 1970, one of `LEVELS`, and its text without line breaks."""

    at: float
    level: str
    message: str


def parse_line(text: str, now: float) -> Iterator[LogLine]:
    """Yield the lines of a log that a process has written as one: a traceback has several.

    What `JsonFormatter` did not write, such as the output of a library, is of the moment `now`.
    """
    try:
        written = orjson.loads(text)
        at = datetime.fromisoformat(written["at"]).timestamp()
        level = {name: name for name in LEVELS}[written["level"]]
        messages = [written["message"], written.get("traceback", "")]
        parts = [part for message in messages for part in message.splitlines()]
    except (ValueError, KeyError, TypeError, AttributeError):
        at, level, parts = now, "info", text.splitlines()
    yield from (LogLine(at, level, part) for part in parts if part.strip())


class JsonFormatter(logging.Formatter):
    """Formats time, level, logger, message, traceback, and the id of the request or job if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of JSON."""
        line = {
            "at": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("request_id", "job_id"):
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line).decode()
        except TypeError:  # a lone surrogate, which only an escape can represent
            return json.dumps(line)


def configure_process(level: str | None = None) -> None:
    """Configure a process of its own: warnings and what nobody catches become lines of the log, too.

    The level is by default that of RECURRA_LOG_LEVEL, as a process reads it before its settings.
    """
    configure("INFO")
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda thread: _log_uncaught(
        thread.exc_type, thread.exc_value or thread.exc_type(), thread.exc_traceback
    )
    configure(level or os.environ.get("RECURRA_LOG_LEVEL", "INFO"))


def format_line(message: str, logger: str, level: int = logging.INFO) -> str:
    """Return a line of the log, of this moment."""
    return JsonFormatter().format(logging.LogRecord(logger, level, "", 0, message, None, None))


def write_line(message: str, logger: str) -> None:
    """Write a line past all buffers and locks, which a signal handler may have interrupted."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), format_line(message, logger).encode() + b"\n")


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(__name__).critical("unexpected: %s", error, exc_info=(kind, error, trace))


def configure(level: str) -> None:
    """Log to stderr from `level` up, without uvicorn's access log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger(POOL_LOGGER).handlers = [handler]  # it does not propagate
    logging.getLogger("uvicorn.access").disabled = True
