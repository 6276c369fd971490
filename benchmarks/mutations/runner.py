"""Runs the tests of a fault in a copy of the repository that has it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from benchmarks.mutations.mutation import Mutation

GATE = ("-m", "not slow and not faults")  # what `make test` runs
PYTEST = (
    sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", *GATE,
)  # fmt: skip
PASSED, FAILED = 0, 1  # exit statuses of pytest; any other is no verdict
TEST_SECONDS = 60  # for one test: a fault may make it wait for ever
RUN_SECONDS = 900.0
FIRST_MTIME = (
    1_000_000_000  # of a changed file; later ones differ, or Python would take an earlier one's bytecode
)


class Fate(StrEnum):
    """What became of a fault."""

    CAUGHT = "caught"
    SURVIVED = "survived"
    BROKEN = "broken"  # its tests could not be run, which proves nothing


class Trial(NamedTuple):
    """The tests of one fault."""

    mutation: Mutation
    fate: Fate
    seconds: float
    detail: str  # the test that noticed it, or what went wrong


class Workspace:
    """A copy of the repository's files in which one fault at a time is made."""

    def __init__(self, root: Path, directory: Path) -> None:
        self._directory = directory
        self._changes = 0
        for name in tracked_files(root):
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)

    def check_imports(self, package: str) -> None:
        """Raise `RuntimeError` unless the tests import the copy: otherwise every fault would survive."""
        command = (sys.executable, "-c", f"import {package}; print({package}.__file__)")
        place = subprocess.run(
            command, check=False, cwd=self._directory, env=self._environment(), capture_output=True
        )
        path = Path(place.stdout.decode().strip() or "/")
        if not path.is_relative_to(self._directory):
            raise RuntimeError(f"{package} is imported from {path}, not from {self._directory}")

    def check_tests(self, tests: Iterable[str]) -> None:
        """Raise `RuntimeError` unless these tests pass without any fault."""
        status, output = self._pytest(sorted(set(tests)))
        if status != PASSED:
            raise RuntimeError(f"The tests fail without a fault, with status {status}:\n{output}")

    def run(self, mutation: Mutation) -> Trial:
        """Make the fault, run its tests and put the file back; raises `StaleMutation`."""
        path = self._directory / mutation.path
        mutated, original = mutation.mutated(self._directory), path.read_text()
        begun = time.monotonic()
        try:
            self._write(path, mutated)
            status, output = self._pytest(mutation.tests)
        finally:
            self._write(path, original)
        fate = {PASSED: Fate.SURVIVED, FAILED: Fate.CAUGHT}.get(status, Fate.BROKEN)
        detail = _first_failure(output) if fate is Fate.CAUGHT else output[-2000:]
        return Trial(mutation, fate, time.monotonic() - begun, detail)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        self._changes += 1
        # Python knows bytecode by its source's size and second: two faults may have both in common.
        os.utime(path, (FIRST_MTIME + self._changes, FIRST_MTIME + self._changes))

    def _pytest(self, tests: Sequence[str]) -> tuple[int, str]:
        command = (*PYTEST, f"--timeout={TEST_SECONDS}", *tests)
        environment = self._environment()
        try:
            done = subprocess.run(
                command, check=False, cwd=self._directory, env=environment, capture_output=True,
                timeout=RUN_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return -1, f"no result within {RUN_SECONDS:g} seconds"
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def _environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self._directory)}


def tracked_files(root: Path) -> list[str]:
    """Return the names of the files that git tracks, or would on `git add`, that exist."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout.decode()
    return sorted({name for name in listed.split("\0") if name and (root / name).is_file()})


def _first_failure(output: str) -> str:
    lines = (line for line in output.splitlines() if line.startswith(("FAILED", "ERROR")))
    return next(lines, output.strip().rpartition("\n")[2])
