"""The child's side of a supervised process."""

import json
import subprocess
import sys

import pytest

from app.media.limits import MediaLimits

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
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        input=json.dumps(request_fields) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == {"seconds": seconds}
