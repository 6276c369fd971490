"""Optuna as the picker of trials: what it picks and learns, what it gives up, and that it keeps quiet."""

import json
import math
import os
import subprocess
import sys
from itertools import islice

import pytest

from app.hyperparameters.space import Choices, Space, Span, Steps, spelled
from app.services.sweeps.policy import Told
from app.typedefs import Json
from workers.sweeps.optuna_sampler import DRAWS, STARTUP, Optuna

SMALL: Space = {"network.cell": Choices(["rnn", "lstm", "gru"]), "network.layers": Steps(1, 1, 2)}
LARGE: Space = {
    "network.cell": Choices(["rnn", None, [1, {"a": 2}]]),
    "network.layers": Steps(1, 1, 4),
    "training.weight_decay": Steps(0.1, 0.1, 3),
    "training.learning_rate": Span(1e-4, 1e-1, log=True, whole=False),
    "network.hidden_size": Span(1, 2048, log=True, whole=True),
}
PICKER = Optuna()


def pick(
    sampler: str, space: Space, told: list[Told] | None = None, seed: int = 7, trials: int = 20
) -> list[Json]:
    """The next few trials."""
    search = {"sampler": sampler, "max_trials": trials}
    return list(islice(PICKER.pick(search, space, seed, told or []), 200))


def inside(space: Space, parameters: Json) -> bool:
    """Whether each value is one that its setting takes."""
    for name, one in space.items():
        value = parameters[name]
        match one:
            case Span():
                good = one.low <= value <= one.high and isinstance(value, int if one.whole else float)
            case _:
                good = value in [one.at(place) for place in range(one.count)]
        if not good:
            return False
    return list(parameters) == list(space)


def test_a_grid_is_every_trial_once_in_an_order_of_its_seed() -> None:
    found = [spelled(one) for one in pick("grid", SMALL)]
    assert len(found) == len(set(found)) == 6
    assert found == [spelled(one) for one in pick("grid", SMALL)]
    other = [spelled(one) for one in pick("grid", SMALL, seed=8)]
    assert (sorted(other), other == found) == (sorted(found), False)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_trials_lie_in_the_space_and_go_through_json(sampler: str) -> None:
    found = pick(sampler, LARGE)
    assert len(found) >= DRAWS
    assert all(inside(LARGE, one) for one in found)
    assert json.loads(json.dumps(found)) == found
    assert len({spelled(one) for one in found}) >= DRAWS
    assert {one["network.cell"] is None for one in found} == {True, False}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_seed_and_results_give_the_same_trials(sampler: str) -> None:
    told = [Told(one, value=k / 10) for k, one in enumerate(pick("random", LARGE)[:12])]
    assert pick(sampler, LARGE, told) == pick(sampler, LARGE, told)
    assert pick(sampler, LARGE, told) != pick(sampler, LARGE, told, seed=8)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_of_a_small_space_nothing_is_missed(sampler: str) -> None:
    told: list[Told] = []
    seen: set[str] = set()
    while len(seen) < 6:
        fresh = [one for one in pick(sampler, SMALL, told) if spelled(one) not in seen]
        seen.add(spelled(fresh[0]))
        told.append(Told(fresh[0], value=len(seen) / 10))
    assert all(spelled(one) in seen for one in pick(sampler, SMALL, told))


def loss(parameters: Json) -> float:
    """Least at a learning rate of 0.01 without a cell."""
    return abs(math.log10(parameters["training.learning_rate"]) + 2) + (
        parameters["network.cell"] is not None
    )


def test_parzen_estimators_learn_from_what_they_are_told() -> None:
    means = {}
    for sampler in ("random", "tpe"):
        told: list[Told] = []
        for _ in range(40):
            parameters = pick(sampler, LARGE, told)[len(told) if sampler == "random" else 0]
            told.append(Told(parameters, value=loss(parameters)))
        means[sampler] = sum(one.value or 0.0 for one in told[20:]) / 20
    assert means["tpe"] < 0.6 * means["random"]


def test_pruned_failed_and_running_trials_count_as_bad() -> None:
    good = {"network.cell": None, "training.learning_rate": 0.01}
    rest = {"network.layers": 1, "training.weight_decay": 0.1, "network.hidden_size": 8}
    told = [Told({**good, **rest, "network.hidden_size": 8 + k}, value=0.1 * k) for k in range(8)]
    bad = {**good, **rest, "network.cell": "rnn"}
    told += [Told(bad, curve={1: 5.0, 2: 4.0}), Told(bad), Told(bad, running=True), Told(bad, curve={})]
    found = pick("tpe", LARGE, told * 2)[:DRAWS]
    assert sum(one["network.cell"] is None for one in found) > DRAWS / 2
    assert all(inside(LARGE, one) for one in found)
    assert pick("tpe", LARGE, [Told(bad, running=True)])  # nothing is known yet of what is bad


ENDED = [{1: 1.0, 2: 0.8, 3: 0.5}] * STARTUP


@pytest.mark.parametrize(
    ("curve", "wanted"),
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
def test_a_run_is_hopeless_behind_the_median_at_the_same_epoch(curve: dict[int, float], wanted: bool) -> None:
    assert PICKER.hopeless(curve, ENDED, warmup=1) is wanted


def test_nobody_is_compared_too_soon_or_with_too_few() -> None:
    late: dict[int, float] = {1: 9.0, 2: 9.0}
    assert PICKER.hopeless(late, ENDED, warmup=2)
    assert not PICKER.hopeless(late, ENDED, warmup=3)
    assert not PICKER.hopeless(late, ENDED[1:], warmup=1)


def test_half_of_those_that_ended_are_not_behind_the_median() -> None:
    ended = [{1: float(k)} for k in range(1, 8)]
    assert [PICKER.hopeless({1: float(k)}, ended, warmup=1) for k in range(1, 8)] == [False] * 4 + [True] * 3


QUIET = """
import json, sys
from workers.sweeps.optuna_sampler import Optuna
from app.services.sweeps.policy import Told
from app.hyperparameters.space import Choices
from app.hyperparameters.space import Span
loaded = "optuna" in sys.modules
space = {"a": Choices(["x", "y"]), "b": Span(0.1, 1.0, log=True, whole=False)}
told = [Told({"a": "x", "b": 0.1 + k / 20}, value=float(k)) for k in range(12)]
told += [Told({"a": "y", "b": 0.5}), Told({"a": "y", "b": 0.6}, curve={1: 2.0})]
for sampler, of in (("tpe", space), ("random", space), ("grid", {"a": space["a"]})):
    known = told if of is space else []
    assert list(Optuna().pick({"sampler": sampler, "max_trials": 9}, of, 7, known))
Optuna().hopeless({1: 2.0}, [{1: 1.0}] * 9, 1)
print(json.dumps([loaded, "optuna" in sys.modules]))
"""


def test_the_library_is_loaded_when_it_is_needed_and_says_nothing() -> None:
    command = [sys.executable, "-W", "error", "-c", QUIET]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(run.stdout) == [False, True]
