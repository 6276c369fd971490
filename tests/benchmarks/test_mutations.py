"""The deliberate faults are all there to be made, and the harness cannot call one caught that is not."""

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.mutations.__main__ import MAX_SURVIVORS, ROOT, verdict
from benchmarks.mutations.catalogue import MUTATIONS, select
from benchmarks.mutations.mutation import Mutation, StaleMutation
from benchmarks.mutations.runner import Fate, Trial, Workspace

AREAS = {
    "app/services/jobs", "app/lanes", "workers/training", "workers/jobs", "app/api", "app/tasks",
    "app/services/maintenance", "app/ingest",
}  # fmt: skip

DOUBLE = "def double(number: int) -> int:\n    return 2 * number\n"
GUARD = "def test_double() -> None:\n    assert double(3) == 6\n"
WRONG = Mutation("it triples", "numbers_of.py", "2 * number", "3 * number", ("test_numbers.py",))


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[[str], Workspace]:
    """A repository with one function, and a workspace of it."""

    def make(test: str) -> Workspace:
        root = tmp_path / "repository"
        root.mkdir()
        (root / "numbers_of.py").write_text(DOUBLE)
        (root / "test_numbers.py").write_text(f"from numbers_of import double\n\n\n{test}")
        (root / "pyproject.toml").write_text(
            '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\npythonpath = ["."]\n'
            'markers = ["slow", "faults"]\n'
        )
        subprocess.run(["git", "init", "-q", root], check=True)
        return Workspace(root, tmp_path / "copy")

    return make


def test_every_fault_can_be_made_and_has_tests() -> None:
    stale: list[str] = []
    for mutation in MUTATIONS:
        try:
            mutation.mutated(ROOT)
        except StaleMutation as error:
            stale.append(str(error))
        paths = [test.partition("::")[0] for test in mutation.tests]
        stale += [f"{mutation.name}: there is no {path}" for path in paths if not (ROOT / path).exists()]
        stale += [] if paths else [f"{mutation.name}: no test"]
    assert stale == []


def test_there_are_faults_enough_in_every_area() -> None:
    names = Counter(mutation.name for mutation in MUTATIONS)
    assert [name for name, count in names.items() if count > 1] == []
    assert len(MUTATIONS) >= 60
    for area in AREAS:
        assert sum(mutation.path.startswith(area) for mutation in MUTATIONS) >= 5, area


def test_one_name_or_path_selects_its_faults() -> None:
    chosen = select(MUTATIONS, "leases.py")
    assert 0 < len(chosen) < len(MUTATIONS)
    assert select(MUTATIONS, chosen[0].name) == [chosen[0]]


def test_a_fault_that_a_test_notices_is_caught(make_tree: Callable[[str], Workspace]) -> None:
    workspace = make_tree(GUARD)
    workspace.check_imports("numbers_of")
    workspace.check_tests(WRONG.tests)
    trial = workspace.run(WRONG)
    assert (trial.fate, trial.detail.startswith("FAILED test_numbers.py")) == (Fate.CAUGHT, True)
    workspace.check_tests(WRONG.tests)  # the file is as it was


@pytest.mark.slow
def test_bytecode_of_one_fault_is_not_taken_for_another(make_tree: Callable[[str], Workspace]) -> None:
    """Both are made within one second and have the same length."""
    workspace = make_tree("def test_double() -> None:\n    assert double(3) in (6, 9)\n")
    harmless = workspace.run(WRONG)
    noticed = workspace.run(Mutation("x", WRONG.path, WRONG.old, "5 * number", WRONG.tests))
    assert (harmless.fate, noticed.fate) == (Fate.SURVIVED, Fate.CAUGHT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("test", "fate"),
    [
        ("def test_double() -> None:\n    assert double(0) == 0\n", Fate.SURVIVED),
        ("import pytest\n\n\n@pytest.mark.slow\n" + GUARD, Fate.BROKEN),  # no test of the gate
        ("def helper() -> None:\n    pass\n", Fate.BROKEN),
        ("import no_such_module\n\n\n" + GUARD, Fate.BROKEN),
    ],
    ids=["weak", "slow", "none", "broken"],
)
def test_a_fault_that_no_test_of_the_gate_notices_is_not_caught(
    make_tree: Callable[[str], Workspace], test: str, fate: Fate
) -> None:
    workspace = make_tree(test)
    assert workspace.run(WRONG).fate is fate
    if fate is Fate.BROKEN:
        with pytest.raises(RuntimeError, match="without a fault"):
            workspace.check_tests(WRONG.tests)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("4 * number", "3 * number", "0 times"),
        ("number", "amount", "2 times"),
        ("2 * number", "2 * number", "changes nothing"),
        ("2 * number", "2 *", "not even compile"),
    ],
)
def test_a_fault_that_cannot_be_made_is_an_error(
    make_tree: Callable[[str], Workspace], old: str, new: str, reason: str
) -> None:
    with pytest.raises(StaleMutation, match=reason):
        make_tree(GUARD).run(Mutation("x", WRONG.path, old, new, WRONG.tests))


def test_a_copy_that_is_not_imported_is_an_error(make_tree: Callable[[str], Workspace]) -> None:
    with pytest.raises(RuntimeError, match="imported from"):
        make_tree(GUARD).check_imports("pytest")


@pytest.mark.parametrize(
    ("survived", "broken", "status"), [(0, 0, 0), (MAX_SURVIVORS, 0, 0), (MAX_SURVIVORS + 1, 0, 1), (0, 1, 1)]
)
def test_hardly_any_fault_may_survive(survived: int, broken: int, status: int) -> None:
    fates = [Fate.SURVIVED] * survived + [Fate.BROKEN] * broken
    fates += [Fate.CAUGHT] * (60 - len(fates))
    assert verdict([Trial(WRONG, fate, 1.0, "") for fate in fates]) == status
