"""The tasks by name, each loaded when it is asked for."""

import subprocess
import sys

import pytest

from app.tasks import TASKS

SHOW = "print(*sorted({one.split('.')[2] for one in sys.modules if one.startswith('app.tasks.')} & names))"


def loaded_after(statement: str) -> set[str]:
    """The tasks that a process has loaded after a statement."""
    code = f"import sys; {statement}; from app.tasks import TASKS; names = set(TASKS); {SHOW}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_process_loads_the_tasks_that_it_asks_for() -> None:
    assert loaded_after("import workers.serving.predictor") == set()
    assert loaded_after("from app.tasks import TASKS; TASKS['tagging']") == {"tagging"}


def test_tasks_are_found_by_their_names() -> None:
    assert [task.name for task in TASKS.values()] == list(TASKS)
    assert "shared" not in TASKS
    with pytest.raises(KeyError):
        TASKS["shared"]
