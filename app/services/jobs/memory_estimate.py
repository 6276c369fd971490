"""How much memory a training needs at least, and which settings would make one fit that needs too much.

What counts is what grows with the job: weights with their gradients and the optimizer's averages, and what is
kept of each step until its gradient is computed. All of it is counted low, so that no job is refused that
would fit; one that needs more after all ends with `out_of_memory`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Worker
from app.errors import Problem, pointer
from app.infrastructure.broker import TRAIN
from app.infrastructure.liveness import LIVE_SECONDS
from app.services.jobs.devices import CPU, CUDA
from app.tasks.contract import Task
from app.tasks.workload import SizedTask, Workload
from app.typedefs import Json

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
WEIGHT_COPIES = 5  # weights, gradients, two moments of Adam, and the running average
OUTPUT_COPIES = 3  # what the head gives, its logarithms, and its gradient
FLOAT_BYTES, HALF_BYTES = 4, 2


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a training needs at least."""

    weights: int  # with gradients and what the optimizer keeps of each
    activations: int
    outputs: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.activations + self.outputs


def estimate(workload: Workload, network: Json, training: Json) -> MemoryEstimate:
    """Return what a training with these settings needs at least."""
    hidden, layers = network["hidden_size"], network["layers"]
    states = hidden * (2 if network.get("bidirectional") else 1)
    gates = GATES.get(network["cell"], 0)
    widths = [workload.inputs, *[states] * (layers - 1)]
    weights = sum(gates * states * (width + hidden) for width in widths)
    tied = network.get("tie_weights") and workload.vocabulary
    weights += workload.vocabulary * workload.inputs
    weights += 0 if tied else workload.outputs * states
    rows = min(training["batch_size"], workload.examples)
    steps = rows * workload.steps
    if workload.total_steps is not None:
        steps = min(steps, workload.total_steps)
    kept = HALF_BYTES if training.get("autocast") else FLOAT_BYTES
    members = WEIGHT_COPIES + training.get("ensemble", 1) - 1
    return MemoryEstimate(
        weights=FLOAT_BYTES * weights * members,
        activations=kept * steps * (workload.inputs + layers * (gates + 1) * states),
        outputs=FLOAT_BYTES * OUTPUT_COPIES * workload.outputs * (steps if workload.stepwise else rows),
    )


def check_memory(
    session: Session, task: Task, summary: Json, options: object, config: tuple[Json, Json]
) -> list[Problem]:
    """Return problems if no live worker that may run a training has the memory for its network and training.

    They name the settings that matter, each with the largest value that would fit.
    """
    return memory_problems(most_memory(session, config[1]["device"]), task, summary, options, config)


def memory_problems(
    most: int | None, task: Task, summary: Json, options: object, config: tuple[Json, Json]
) -> list[Problem]:
    """Return the problems of a network and a training if they need more than `most` bytes; None is enough."""
    network, training = config
    if most is None or not isinstance(task, SizedTask):
        return []
    load = task.workload(summary, options, network, training)
    needed = estimate(load, network, training)
    if needed.total <= most:
        return []
    settings: list[tuple[str, int, Callable[[int], MemoryEstimate]]] = [
        (
            pointer("training", "batch_size"),
            min(training["batch_size"], load.examples),
            lambda value: estimate(load, network, training | {"batch_size": value}),
        ),
        (
            load.steps_setting,
            load.steps,
            lambda value: estimate(replace(load, steps=value), network, training),
        ),
        (
            pointer("network", "hidden_size"),
            network["hidden_size"],
            lambda value: estimate(load, network | {"hidden_size": value}, training),
        ),
    ]
    return [
        Problem(at, f"{_describe(needed, most)}; {_advice(_largest(current, at_value, most))}")
        for at, current, at_value in settings
    ]


def most_memory(session: Session, device: str) -> int | None:
    """Return the most memory that a live worker has for a training; None if one may run it on a GPU.

    None too while no worker has said how much it has.
    """
    if device.startswith(CUDA):
        return None
    query = select(Worker.device, Worker.memory_bytes)
    workers = session.execute(
        query.where(Worker.role == TRAIN, Worker.last_seen > db_now() - LIVE_SECONDS)
    ).all()
    limits = [row.memory_bytes for row in workers]
    on_gpu = device != CPU and any(row.device.startswith(CUDA) for row in workers)
    return None if on_gpu or not limits or None in limits else max(limits)


def _largest(current: int, at_value: Callable[[int], MemoryEstimate], most: int) -> int:
    """Return the largest value of a setting below `current` with which a training would fit; 0 if none."""
    fits, too_much = 0, current
    while too_much - fits > 1:
        middle = (fits + too_much) // 2
        fits, too_much = (middle, too_much) if at_value(middle).total <= most else (fits, middle)
    return fits


def _advice(value: int) -> str:
    return f"with at most {value:,} here it would fit" if value else "no value here alone would make it fit"


def _describe(needed: MemoryEstimate, most: int) -> str:
    parts = (
        f"{_size(needed.weights)} for weights and optimizer, {_size(needed.activations)} for states, "
        f"{_size(needed.outputs)} for outputs"
    )
    return (
        f"the training needs at least {_size(needed.total)} of memory ({parts}), a worker has {_size(most)}"
    )


def _size(count: int) -> str:
    return f"{count / (1 << 30):,.3g} GiB"
