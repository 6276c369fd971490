"""The training child's own duties: every failure becomes a message, and it never outlives its parent."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from app.errors import Invalid
from workers.training.child import failure
from workers.training.device import DeviceMissing
from workers.training.loop import TrainingDiverged


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TrainingDiverged("The loss is not finite"), "diverged"),
        (DeviceMissing("no CUDA device"), "device_missing"),
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left"), "no_space"),
        (Invalid("nothing to learn from"), "invalid_request"),
        (ValueError("odd"), "internal"),
    ],
)
def test_each_failure_has_a_code_and_a_cause(error: BaseException, code: str) -> None:
    message = failure(error)
    assert (message["type"], message["code"]) == ("failed", code)
    assert message["message"]


def start(request: dict[str, Any]) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.training.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    return process


def test_a_disk_too_full_for_the_log_is_a_message_and_not_a_crash(tmp_path: Path) -> None:
    spec = {"task": "forecasting", "network": {}, "training": {}, "options": {}}
    places = {"data_dir": str(tmp_path), "out_dir": str(tmp_path), "checkpoint_dir": str(tmp_path / "c")}
    request = {"spec": spec, **places, "checkpoint_seconds": 30.0, "threads": 1, "resume": None}
    request["parent"] = os.getpid()
    with (tmp_path / "log").open("w") as log:
        done = subprocess.run(
            ["prlimit", "--fsize=0", sys.executable, "-m", "workers.training.child"],
            input=json.dumps(request) + "\n",
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            timeout=60,
            check=False,
        )
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == ["progress", "failed"]


def test_missing_data_is_a_message_and_not_a_crash(tmp_path: Path) -> None:
    spec = {"task": "forecasting", "network": {}, "training": {}, "options": {}}
    process = start({"spec": spec, "data_dir": str(tmp_path / "none"), "out_dir": str(tmp_path)})
    assert process.stdout is not None
    messages = [json.loads(line) for line in process.stdout]
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert messages[-1]["type"] == "failed"
