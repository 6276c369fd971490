"""The child's side of a supervised process."""

import json
import os
import subprocess
import sys

import pytest

from app.media.limits import MediaLimits
from workers.process.child import NICENESS

NICE_WORK = """
import os
from workers.process.child import run_work
run_work(lambda request, on, should_stop: {"niceness": os.nice(0)})
"""
WORK = """
from app.media.decoder import MediaDecoder
from workers.process.child import run_work
run_work(lambda request, on, should_stop: {"seconds": MediaDecoder().limits.audio_seconds})
"""


@pytest.mark.parametrize(
    ("request_fields", "seconds"),
    [({"media_limits": {"audio_seconds": 7.5}}, 7.5), ({}, MediaLimits().audio_seconds)],
)
def test_whatever_decodes_in_it_keeps_to_the_limits_of_the_request(
    request_fields: dict[str, object], seconds: float
) -> None:
    assert answered(WORK, request_fields) == {"seconds": seconds}


def test_predictions_come_before_it_where_cores_are_short() -> None:
    assert answered(NICE_WORK, {}) == {"niceness": os.nice(0) + NICENESS}


def answered(program: str, request_fields: dict[str, object]) -> object:
    """The last message of a child that runs a program."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(request_fields) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)
