"""A program for a fork server: says who it is, then does what it is told, a line at a time."""

import json
import os
import signal
import sys

from app.infrastructure.processes.managed import die_with_parent

IMPORTED_BY = os.getpid()


def main() -> None:
    die_with_parent(os.getppid(), signal.SIGKILL)
    answer({"pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0), "imported_by": IMPORTED_BY})
    for line in sys.stdin:
        match line.strip():
            case "raise":
                raise ValueError("as told")
            case "modules":
                answer([name for name in sys.modules if name.startswith("tests.workers.process.")])
            case "wait for ever":
                signal.pause()
            case other:
                answer(other)


def answer(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
