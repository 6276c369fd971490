"""Optuna as sampler and pruner: what it suggests, learns and stops, and that it logs nothing."""

import json
import math
import os
import subprocess
import sys
from itertools import islice

import pytest

from app.hyperparameters.space import ChoiceAxis, RangeAxis, Space, StepAxis, canonical_json
from app.services.sweeps.policy import TrialResult
from app.typedefs import Json
from workers.sweeps.optuna_sampler import MAX_DRAWS, MIN_ENDED_RUNS, OptunaPruner, OptunaSampler

SMALL: Space = {"network.cell": ChoiceAxis(["rnn", "lstm", "gru"]), "network.layers": StepAxis(1, 1, 2)}
LARGE: Space = {
    "network.cell": ChoiceAxis(["rnn", None, [1, {"a": 2}]]),
    "network.layers": StepAxis(1, 1, 4),
    "training.weight_decay": StepAxis(0.1, 0.1, 3),
    "training.learning_rate": RangeAxis(1e-4, 1e-1, log=True, integer=False),
    "network.hidden_size": RangeAxis(1, 2048, log=True, integer=True),
}
SAMPLER, PRUNER = OptunaSampler(), OptunaPruner()


def suggest(
    sampler: str,
    space: Space,
    results: list[TrialResult] | None = None,
    seed: int = 7,
    trials: int = 20,
    count: int = 200,
) -> list[Json]:
    """The next few trials, as many as `count` at most."""
    search = {"sampler": sampler, "max_trials": trials}
    return list(islice(SAMPLER.suggest(search, space, seed, results or []), count))


def inside(space: Space, parameters: Json) -> bool:
    """Whether each value is one that its setting takes."""
    for name, one in space.items():
        value = parameters[name]
        match one:
            case RangeAxis():
                good = one.low <= value <= one.high and isinstance(value, int if one.integer else float)
            case _:
                good = value in [one.value_at(index) for index in range(one.count)]
        if not good:
            return False
    return list(parameters) == list(space)


def test_a_grid_is_every_trial_once_in_an_order_of_its_seed() -> None:
    suggested = [canonical_json(one) for one in suggest("grid", SMALL)]
    assert len(suggested) == len(set(suggested)) == 6
    assert suggested == [canonical_json(one) for one in suggest("grid", SMALL)]
    other = [canonical_json(one) for one in suggest("grid", SMALL, seed=8)]
    assert (sorted(other), other == suggested) == (sorted(suggested), False)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_trials_lie_in_the_space_and_go_through_json(sampler: str) -> None:
    suggested = suggest(sampler, LARGE)
    assert len(suggested) >= MAX_DRAWS
    assert all(inside(LARGE, one) for one in suggested)
    assert json.loads(json.dumps(suggested)) == suggested
    assert len({canonical_json(one) for one in suggested}) >= MAX_DRAWS
    assert {one["network.cell"] is None for one in suggested} == {True, False}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_seed_and_results_give_the_same_trials(sampler: str) -> None:
    results = [TrialResult(one, value=k / 10) for k, one in enumerate(suggest("random", LARGE)[:12])]
    assert suggest(sampler, LARGE, results) == suggest(sampler, LARGE, results)
    assert suggest(sampler, LARGE, results) != suggest(sampler, LARGE, results, seed=8)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_of_a_small_space_nothing_is_missed(sampler: str) -> None:
    results: list[TrialResult] = []
    known: set[str] = set()
    while len(known) < 6:
        fresh = [one for one in suggest(sampler, SMALL, results) if canonical_json(one) not in known]
        known.add(canonical_json(fresh[0]))
        results.append(TrialResult(fresh[0], value=len(known) / 10))
    assert all(canonical_json(one) in known for one in suggest(sampler, SMALL, results))


def loss(parameters: Json) -> float:
    """Least at a learning rate of 0.01 without a cell."""
    return abs(math.log10(parameters["training.learning_rate"]) + 2) + (
        parameters["network.cell"] is not None
    )


def test_parzen_estimators_learn_from_results() -> None:
    means = {}
    for sampler in ("random", "tpe"):
        results: list[TrialResult] = []
        for _ in range(40):
            number = len(results) if sampler == "random" else 0  # in random search results change nothing
            parameters = suggest(sampler, LARGE, results, count=number + 1)[number]
            results.append(TrialResult(parameters, value=loss(parameters)))
        means[sampler] = sum(one.value or 0.0 for one in results[20:]) / 20
    assert means["tpe"] < 0.6 * means["random"]


def test_pruned_failed_and_running_trials_count_as_bad() -> None:
    good = {"network.cell": None, "training.learning_rate": 0.01}
    rest = {"network.layers": 1, "training.weight_decay": 0.1, "network.hidden_size": 8}
    results = [TrialResult({**good, **rest, "network.hidden_size": 8 + k}, value=0.1 * k) for k in range(8)]
    bad = {**good, **rest, "network.cell": "rnn"}
    results += [
        TrialResult(bad, curve={1: 5.0, 2: 4.0}),
        TrialResult(bad),
        TrialResult(bad, running=True),
        TrialResult(bad, curve={}),
    ]
    suggested = suggest("tpe", LARGE, results * 2)[:MAX_DRAWS]
    assert sum(one["network.cell"] is None for one in suggested) > MAX_DRAWS / 2
    assert all(inside(LARGE, one) for one in suggested)
    assert suggest("tpe", LARGE, [TrialResult(bad, running=True)])  # nothing is known yet of what is bad


ENDED = [{1: 1.0, 2: 0.8, 3: 0.5}] * MIN_ENDED_RUNS


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ({1: 1.5}, True),
        ({1: 1.5, 2: 0.9}, True),
        ({1: 1.5, 2: 0.7}, False),
        ({1: 0.7, 2: 3.0}, False),  # its best loss so far counts
        ({1: 0.9, 2: 0.8, 3: 0.6}, True),
        ({1: 9.0, 2: 9.0, 3: 9.0, 4: 9.0}, False),  # nobody came so far
        ({}, False),
    ],
)
def test_a_run_is_pruned_behind_the_median_at_the_same_epoch(curve: dict[int, float], expected: bool) -> None:
    assert PRUNER.should_prune(curve, ENDED, warmup=1) is expected


def test_no_run_is_compared_too_soon_or_with_too_few() -> None:
    late: dict[int, float] = {1: 9.0, 2: 9.0}
    assert PRUNER.should_prune(late, ENDED, warmup=2)
    assert not PRUNER.should_prune(late, ENDED, warmup=3)
    assert not PRUNER.should_prune(late, ENDED[1:], warmup=1)


def test_half_of_those_that_ended_are_not_behind_the_median() -> None:
    ended = [{1: float(k)} for k in range(1, 8)]
    assert [PRUNER.should_prune({1: float(k)}, ended, warmup=1) for k in range(1, 8)] == [False] * 4 + [
        True
    ] * 3


QUIET = """
import json, sys
from workers.sweeps.optuna_sampler import OptunaPruner
from workers.sweeps.optuna_sampler import OptunaSampler
from app.services.sweeps.policy import TrialResult
from app.hyperparameters.space import ChoiceAxis
from app.hyperparameters.space import RangeAxis
loaded = "optuna" in sys.modules
space = {"a": ChoiceAxis(["x", "y"]), "b": RangeAxis(0.1, 1.0, log=True, integer=False)}
results = [TrialResult({"a": "x", "b": 0.1 + k / 20}, value=float(k)) for k in range(12)]
results += [TrialResult({"a": "y", "b": 0.5}), TrialResult({"a": "y", "b": 0.6}, curve={1: 2.0})]
for sampler, of in (("tpe", space), ("random", space), ("grid", {"a": space["a"]})):
    known = results if of is space else []
    assert list(OptunaSampler().suggest({"sampler": sampler, "max_trials": 9}, of, 7, known))
OptunaPruner().should_prune({1: 2.0}, [{1: 1.0}] * 9, 1)
print(json.dumps([loaded, "optuna" in sys.modules]))
"""


def test_optuna_is_imported_when_it_is_needed_and_logs_nothing() -> None:
    command = [sys.executable, "-W", "error", "-c", QUIET]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(run.stdout) == [False, True]
