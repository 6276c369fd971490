"""What tests rest on: waits, what is made once a run, and which process runs which file."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.typedefs import Json
from tests.support.fixtures import servers
from tests.support.fixtures.made_once import directory_of_run, made_once
from tests.support.fixtures.servers import MAX_PAUSE_SECONDS, MIN_PAUSE_SECONDS, until
from tests.support.scheduling import ServiceScheduling, needs_service


class Clock:
    """A clock that goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.pauses = 100.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(servers, "time", made)
    return made


def test_a_wait_asks_often_first_and_then_ever_less_often(clock: Clock) -> None:
    until(lambda: clock.now > 105)
    assert clock.pauses == sorted(clock.pauses)
    assert (clock.pauses[0], clock.pauses[-1]) == (MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
    assert len(clock.pauses) < 100


def test_a_wait_can_be_told_how_often_and_ends(clock: Clock) -> None:
    with pytest.raises(AssertionError, match="the end did not come true in 10 s"):
        until(lambda: False, 1, "the end", every=0.5)
    assert set(clock.pauses) == {0.5}
    assert len(clock.pauses) == 20


@pytest.fixture
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The factory of one of two test processes of a run."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    return SimpleNamespace(getbasetemp=lambda: tmp_path / "gw0")


def test_what_is_made_once_is_found_again_and_a_failure_is_not(run_directory: Any, tmp_path: Path) -> None:
    made: list[Path] = []

    def make(directory: Path) -> int:
        (directory / "file").write_text("content")
        made.append(directory)
        if len(made) == 1:
            raise RuntimeError("no luck")
        return len(made)

    with pytest.raises(RuntimeError, match="no luck"):
        made_once(run_directory, "thing", make)
    directory, result = made_once(run_directory, "thing", make)
    assert made_once(run_directory, "thing", make) == (directory, result) == (made[1], 2)
    assert [path.name for path in directory.iterdir()] == ["file"]
    assert made_once(run_directory, "other", make)[0] != directory
    assert directory_of_run(run_directory) == tmp_path


class Node:
    """A test process that runs one test after another."""

    shutting_down, gateway = False, SimpleNamespace(id="gw")

    def __init__(self, tests: list[str]) -> None:
        self.tests, self.waiting, self.files = tests, list[int](), list[str]()

    def send_runtest_some(self, indices: list[int]) -> None:
        self.waiting += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    def run_one(self, scheduling: Any) -> None:
        index = self.waiting.pop(0)
        if (file := self.tests[index].partition("::")[0]) not in self.files:
            self.files.append(file)
        scheduling.mark_test_complete(self, index)


def test_two_processes_run_what_needs_the_service_and_before_all_else(tmp_path: Path) -> None:
    files = [f"test_{number}.py" for number in range(9)]
    for number, file in enumerate(files):
        (tmp_path / file).write_text("def test_a(stack: Stack): ..." if number % 3 else "def test_a(): ...")
    services = [file for file in files if needs_service(tmp_path / file)]
    assert services == [file for number, file in enumerate(files) if number % 3]
    options: Json = {"loadscopereorder": False, "tx": ["3*popen"]}
    config = SimpleNamespace(rootpath=tmp_path, option=SimpleNamespace(**options), getvalue=options.get)
    scheduling: Any = ServiceScheduling(config)
    nodes = [Node([f"{file}::{test}" for file in files for test in "abc"]) for _ in range(3)]
    for node in nodes:
        scheduling.add_node(node)
    for node in nodes:
        scheduling.add_node_collection(node, node.tests)
    scheduling.schedule()
    while running := [node for node in nodes if node.waiting]:
        for node in running:
            node.run_one(scheduling)
    assert scheduling.tests_finished
    first, second, other = (node.files for node in nodes)
    assert sorted(first + second) == services
    assert other == [file for file in files if file not in services]
    assert max(map(len, scheduling.assigned_work.values())) <= 2  # what is finished is forgotten
