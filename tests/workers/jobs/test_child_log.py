"""The log of a job is for its owner: no paths of the machine, no secrets, no line without an end."""

import json

import pytest

from app.infrastructure.logs import LogLine, parse_line
from workers.jobs.child_log import MAX_MESSAGE_CHARS, publishable


def published(message: str) -> str:
    return publishable(LogLine(0.0, "info", message)).message


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('File "/usr/lib/python3/site-packages/torch/nn/linear.py", line 3', 'File "…/linear.py", line 3'),
        ("cannot read /srv/recurra/work/job_1-1/data.npz: gone", "cannot read …/data.npz: gone"),
        ("the ratio and/or the rate 3/4 on 2026/01/31", "the ratio and/or the rate 3/4 on 2026/01/31"),
        ("see https://example.com/a/b", "see https://example.com/a/b"),
        ("postgresql://me:pass@db/x", "postgresql://…@db/x"),
        ("key rk_abcdefghijkl_" + "A1" * 20, "key rk_…"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_…"),
        ("password=hunter2 next", "password=… next"),
        ("API-Key: abc", "API-Key: …"),
        ("a\x00b\x1b[31mc\td", "a b [31mc\td"),
        ("half a \ud800 pair", "half a ? pair"),
    ],
)
def test_lines_are_published_without_paths_and_secrets(written: str, shown: str) -> None:
    assert published(written) == shown


def test_a_long_line_is_cut() -> None:
    assert len(published("x" * 5_000)) == MAX_MESSAGE_CHARS
    assert published("x" * MAX_MESSAGE_CHARS) == "x" * MAX_MESSAGE_CHARS


def test_a_line_of_the_log_is_read_with_its_traceback_and_anything_else_as_it_is() -> None:
    fields = {"at": "2026-01-31T09:30:00.500Z", "level": "error", "logger": "x", "message": "it failed"}
    written = json.dumps(fields | {"traceback": "Traceback:\n  File x\nValueError: 3"})
    lines = list(parse_line(written, 9.0))
    assert [line.message for line in lines] == ["it failed", "Traceback:", "  File x", "ValueError: 3"]
    assert {(line.at, line.level) for line in lines} == {(1_769_851_800.5, "error")}
    for other in ("plain", "[1, 2]", '{"at": 3}', json.dumps(fields | {"level": "shout"}), "null"):
        assert list(parse_line(f"{other}\n", 9.0)) == [LogLine(9.0, "info", other)]
    assert list(parse_line("\n", 9.0)) == []
