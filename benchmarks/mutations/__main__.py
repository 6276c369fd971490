"""`make mutations`: makes each deliberate fault in a copy of the repository, and runs its tests."""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.mutations.catalogue import MUTATIONS, select
from benchmarks.mutations.mutation import Mutation, StaleMutation
from benchmarks.mutations.runner import Fate, Trial, Workspace

ROOT = Path(__file__).parents[2]
MAX_SURVIVORS = 2  # of 60 faults


def main() -> int:
    """Run the faults; 0 if hardly any survived and none was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="those with this text in their name or path")
    parser.add_argument("--sample", type=int, help="so many of them, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--list", action="store_true", help="name them, run nothing")
    arguments = parser.parse_args()
    mutations = select(MUTATIONS, arguments.only)
    if arguments.sample is not None:
        choice = random.Random(arguments.seed)  # noqa: S311 - a repeatable choice
        drawn = choice.sample(mutations, min(arguments.sample, len(mutations)))
        mutations = sorted(drawn, key=mutations.index)
    if arguments.list:
        for mutation in mutations:
            print(f"{mutation.path}: {mutation.name}")
        return 0
    if not mutations:
        print(f"No fault has {arguments.only!r} in its name or path", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="recurra-mutations-") as directory:
        return verdict(run_all(Workspace(ROOT, Path(directory)), mutations))


def run_all(workspace: Workspace, mutations: Sequence[Mutation]) -> list[Trial]:
    """Check that the tests pass without a fault, then run each fault; raises `StaleMutation` at once."""
    for mutation in mutations:
        mutation.mutated(ROOT)
    workspace.check_imports("app")
    workspace.check_tests(test for mutation in mutations for test in mutation.tests)
    trials = []
    for number, mutation in enumerate(mutations, 1):
        trials.append(trial := workspace.run(mutation))
        print(
            f"{number:3}/{len(mutations)} {trial.fate:8} {trial.seconds:5.1f} s  {mutation.name}", flush=True
        )
    return trials


def verdict(trials: Sequence[Trial]) -> int:
    """Print what survived and what was broken; the exit status."""
    counts = Counter(trial.fate for trial in trials)
    for trial in trials:
        if trial.fate is not Fate.CAUGHT:
            print(f"\n{trial.fate}: {trial.mutation.name}\n  {trial.mutation.path}: {trial.mutation.old!r}")
            print(f"  became {trial.mutation.new!r}\n{trial.detail}")
    print(f"{counts[Fate.CAUGHT]} of {len(trials)} faults were caught, {counts[Fate.SURVIVED]} survived")
    allowed = MAX_SURVIVORS * len(trials) // 60
    return int(counts[Fate.BROKEN] > 0 or counts[Fate.SURVIVED] > allowed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StaleMutation as error:
        sys.exit(str(error))
