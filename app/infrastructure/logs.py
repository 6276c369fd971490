"""Logging as one JSON object a line."""

import json
import logging
import sys

import orjson

from app.times import rfc3339


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


def configure(level: str) -> None:
    """Log to stderr from `level` up, without uvicorn's access log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True
