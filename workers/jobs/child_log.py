"""What the process of a job writes: in this worker's log as it came, in the job's log for its owner."""

import re
import sys
import time
from contextlib import suppress

from app.infrastructure.logs import LogLine, parse_line
from workers.jobs.heartbeat import Heartbeat

MAX_MESSAGE_CHARS = 1_000  # of a line in a job's log
# An absolute path of two steps or more; of URLs and dates no slash is preceded by a blank or a quote.
PATH = re.compile(r"(?<![\w.:/~<-])/(?:[^\s/'\"():,;]+/)+([^\s/'\"():,;]*)")
SECRETS = (
    (re.compile(r"\b(rk_|whsec_)[A-Za-z0-9+/=_-]+"), r"\1…"),
    (re.compile(r"(://)[^/\s@]+@"), r"\1…@"),  # of the user of a URL
    (re.compile(r"(?i)\b(password|secret|api[_-]?key|authorization)(['\"]?\s*[=:]\s*)\S+"), r"\1\2…"),
)
CONTROLS = {code: " " for code in (*range(32), *range(127, 160)) if code != ord("\t")}


class ChildLog:
    """Writes the lines of one job's process to both logs; that of the job gets them with the heartbeat."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat

    def write(self, line: str) -> None:
        """Write what the process has written as one line."""
        with suppress(OSError, ValueError):  # a full disk, or no stderr any more
            sys.stderr.write(line if line.endswith("\n") else f"{line}\n")
            sys.stderr.flush()
        self._heartbeat.add_lines(map(publishable, parse_line(line, time.time())))


def publishable(line: LogLine) -> LogLine:
    """A line as the job's owner may read it: short, without paths of this machine and without secrets."""
    text = line.message.encode(errors="replace").decode().translate(CONTROLS)
    text = PATH.sub(r"…/\1", text)
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    if len(text) > MAX_MESSAGE_CHARS:
        text = f"{text[: MAX_MESSAGE_CHARS - 1]}…"
    return LogLine(line.at, line.level, text)
