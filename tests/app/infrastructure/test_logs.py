"""Logs that a machine can read: one JSON object a line, whatever is logged."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from app.infrastructure import logs
from app.infrastructure.logs import JsonFormatter


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was afterwards."""
    root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
    before = (root.level, list(root.handlers), access.disabled)
    yield root
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    access.disabled = before[2]


def line(message: object, *args: object, exc_info: Any = None, **extra: object) -> dict[str, Any]:
    record = logging.LogRecord("app.x", logging.WARNING, "f.py", 1, message, args, exc_info)
    record.created = 1_769_851_800.5
    vars(record).update(extra)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    fields: dict[str, Any] = json.loads(text)
    return fields


def test_a_line_has_time_level_logger_and_message() -> None:
    assert line("%s of %d", "one", 2) == {
        "at": "2026-01-31T09:30:00.500Z",
        "level": "warning",
        "logger": "app.x",
        "message": "one of 2",
    }


def test_ids_are_fields_of_their_own_and_other_extras_are_not() -> None:
    fields = line("x", request_id="r1", job_id="job_1", cookie="hunter2")
    assert (fields["request_id"], fields["job_id"]) == ("r1", "job_1")
    assert "hunter2" not in json.dumps(fields)


@pytest.mark.parametrize("message", ["two\nlines", 'a "quote"', "\x00\x1b[31m", "größe 数据", "\ud800", ""])
def test_any_text_stays_one_line_of_json(message: str) -> None:
    assert line(message)["message"] == message


def test_a_fault_brings_its_traceback() -> None:
    try:
        int("odd")
    except ValueError:
        fields = line("failed", exc_info=sys.exc_info())
    assert fields["traceback"].startswith("Traceback")
    assert fields["traceback"].endswith("'odd'")


@pytest.mark.parametrize(("level", "shown"), [("INFO", True), ("info", True), ("WARNING", False)])
def test_the_level_is_kept_to(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], level: str, shown: bool
) -> None:
    logs.configure(level)
    logging.getLogger("app.y").info("hello")
    logging.getLogger("app.y").debug("never")
    lines = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert [one["message"] for one in lines] == (["hello"] if shown else [])


def test_configuring_twice_logs_once_and_nothing_goes_to_stdout(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("INFO")
    logs.configure("INFO")
    logging.getLogger("app.y").info("hello")
    logging.getLogger("uvicorn.access").warning("GET / 200")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [json.loads(text)["message"] for text in captured.err.splitlines()] == ["hello"]


def test_an_unknown_level_is_refused(root: logging.Logger) -> None:
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure("loud")


PROGRAM = """
import logging, os, sys, threading, warnings
from app.infrastructure import logs
logs.configure_process()
warnings.warn("old ways", stacklevel=1)
thread = threading.Thread(target=int, args=("odd",))
thread.start()
thread.join()
logs.write_line("told to stop", "signals")
raise SystemExit(3) if len(sys.argv) > 1 else RuntimeError("broken")
"""


def run_program(*arguments: str, **variables: str) -> tuple[int, str, list[dict[str, Any]]]:
    """A program's exit status, its stdout, and the lines of its log."""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", PROGRAM, *arguments],
        capture_output=True, text=True, check=False, env=os.environ | variables,
    )  # fmt: skip
    return done.returncode, done.stdout, [json.loads(line) for line in done.stderr.splitlines()]


def test_what_a_process_says_of_itself_is_json_too() -> None:
    status, out, lines = run_program()
    assert (status, out) == (1, "")
    warning, thread, signal_line, last = lines
    assert "old ways" in warning["message"]
    assert "invalid literal" in thread["traceback"]
    assert (signal_line["logger"], signal_line["message"]) == ("signals", "told to stop")
    assert (last["level"], last["message"]) == ("critical", "unexpected: broken")
    assert last["traceback"].startswith("Traceback")
    assert run_program("exit")[0] == 3


def test_a_level_that_does_not_exist_is_told_as_json() -> None:
    status, _, (line,) = run_program(RECURRA_LOG_LEVEL="loud")
    assert status == 1
    assert "LOUD" in line["message"]
