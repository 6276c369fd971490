"""`recurra demo` runs the demo of any task, and knows none by name."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.cli.demo.command import DEFAULT_TASK
from app.tasks import TASKS


def test_one_demo_is_the_default() -> None:
    assert [name for name, task in TASKS.items() if task.demo.default] == [DEFAULT_TASK]


def test_an_unknown_task_is_wrong_usage() -> None:
    result = CliRunner().invoke(app, ["demo", "--task", "juggling"])
    assert result.exit_code == 2
    assert "there is no task juggling" in result.output


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_whole_demo(task: Any, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RECURRA_")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from app.cli import main; main()", "demo", "--task", task.name],
        capture_output=True, text=True, timeout=390, cwd=tmp_path, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for model in task.demo.jobs:
        assert (f"{model} is better than {task.demo.baseline}" in done.stdout) or not task.demo.must_win
    assert "The same by hand, while `recurra up` runs in another terminal:" in done.stdout
    assert "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir())
