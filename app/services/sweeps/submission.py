"""Sweeps: jobs whose trials are jobs. Each trial sets what is searched, and runs once for each seed.

A sweep is checked and stored here, read in `standings`, and advanced in `advances`.
"""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from app.database.tables import Dataset, Job
from app.errors import Invalid, Problem, pointer
from app.hyperparameters.options import TRAINING, NetworkIn, TrainingIn
from app.hyperparameters.space import Space, applied, axis, field_of, size, spelled
from app.schemas import JobIn
from app.services.jobs import submission
from app.services.jobs.submission import Settings
from app.services.sweeps.search import MAXIMIZE, MINIMIZE, SweepIn
from app.states import SWEEP
from app.tasks import TASKS
from app.tasks.contract import Task
from app.tasks.shared.validation_metrics import LOSS
from app.typedefs import Json

MOST_CHECKED = 500  # trials before anything is stored; of a larger space each value by itself
LARGEST_GRID = 10_000
MOST_TOLD = 20
SEED = "training.seed"


def submit(session: Session, request: SweepIn) -> Job:
    """Check every trial as a job is checked, and store the sweep; the caller commits."""
    task, dataset = submission.named(session, request)
    space = _space(task, request)
    also = submission.other_task(session, request)
    base = _base(request.model_dump(include={"task", "dataset", "model", "metadata"}), request)
    _check(task, dataset, base, space, also)
    measures = {LOSS: False, **task.measures(dataset.summary)}
    _refuse(list(_misjudged(request, task, measures)))
    total = size(space)
    sampler = request.sampler or ("grid" if total is not None and total <= request.max_trials else "tpe")
    if sampler == "grid" and (total is None or total > LARGEST_GRID):
        told = "without an end" if total is None else f"of {total:,} trials, more than {LARGEST_GRID:,}"
        _refuse([Problem("/sampler", f"this is a grid {told}; take tpe or random, or give steps")])
    asked = request.model_dump(include={"metric", "max_trials", "seeds", "max_parallel", "max_seconds"})
    search = asked | {
        "space": request.search,
        "sampler": sampler,
        "direction": MAXIMIZE if measures[request.metric] else MINIMIZE,
        "prune": request.metric == LOSS if request.prune is None else request.prune,
        "seed": TRAINING["seed"] if request.training.seed is None else request.training.seed,
        "max_trials": request.max_trials if total is None else min(total, request.max_trials),
    }
    parts = {part: base[part] for part in ("network", "training", "options")}
    return submission.store(session, request, SWEEP, search=search, **parts)


def space_of(task: Task, search: Json) -> Space:
    """What is searched, each setting as its field takes it; raises `Invalid`."""
    parts: dict[str, type[BaseModel]] = {
        "network": NetworkIn,
        "training": TrainingIn,
        "options": task.options,
    }
    space, problems = {}, []
    for name, dimension in search.items():
        try:
            space[name] = axis(dimension, field_of(name, parts))
        except ValueError as wrong:
            problems.append(Problem(pointer("search", name), str(wrong)))
    _refuse(problems)
    return space


def base_of(sweep: Job) -> Json:
    """What all trials have in common, as it was asked for."""
    named = {"task": sweep.task, "dataset": sweep.dataset_id, "model": sweep.model}
    parts = {"network": sweep.network, "training": sweep.training, "options": sweep.options}
    return {**named, **parts, "metadata": sweep.job_metadata}


def settle(task: Task, dataset: Dataset, base: Json, parameters: Json, also: Any = ()) -> Settings:
    """What a trial runs with; raises `Invalid` with pointers as of a job."""
    try:
        request = JobIn.model_validate(base | applied(base, parameters))
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False)
        raise Invalid(problems=[Problem(pointer(*error["loc"]), error["msg"]) for error in errors]) from None
    return submission.settle(task, dataset, request, also)


def task_of(sweep: Job) -> Task:
    """The task of all trials."""
    return TASKS[sweep.task]


def _misjudged(request: SweepIn, task: Task, measures: Json) -> Iterator[Problem]:
    """A metric that there is not, or losses that cannot be compared."""
    if request.metric not in measures:
        yield Problem("/metric", f"{request.metric} is not measured here; choose from {', '.join(measures)}")
    others = ", ".join(name for name in measures if name != LOSS)
    for name in sorted(task.loss_of & request.search.keys()):
        if request.metric == LOSS:
            told = f"this changes what the loss is of: compare trials by another metric ({others})"
            yield Problem(pointer("search", name), told)
        elif request.prune:
            yield Problem("/prune", f"pruning compares losses, and {name} changes what they are of")


def _base(named: Json, request: SweepIn) -> Json:
    parts = {"network": submission.given(request.network), "training": submission.given(request.training)}
    return {**named, **parts, "options": request.options}


def _space(task: Task, request: SweepIn) -> Space:
    fixed = {
        f"{part}.{name}"
        for part in ("network", "training")
        for name in submission.given(getattr(request, part))
    }
    fixed |= {f"options.{name}" for name in request.options}
    twice = "this is fixed too; leave it out there or here"
    problems = [Problem(pointer("search", name), twice) for name in request.search if name in fixed]
    if SEED in request.search:
        problems.append(Problem(pointer("search", SEED), "each trial runs with several seeds; see `seeds`"))
    _refuse(problems)
    return space_of(task, request.search)


def _check(task: Task, dataset: Dataset, base: Json, space: Space, also: list[Problem]) -> None:
    """Try trials as jobs; what is wrong with one is told once, at the setting that is to blame."""
    found: dict[Problem, Json] = {}
    probes = list(_probes(space))
    right = 0
    for parameters in probes:
        try:
            settle(task, dataset, base, parameters, also)
            right += 1
        except Invalid as error:
            for problem in error.problems:
                found.setdefault(_blame(problem, parameters), parameters)
        if len(found) >= MOST_TOLD:
            break
    _refuse([_with(problem, parameters) if right else problem for problem, parameters in found.items()])


def _probes(space: Space) -> Iterator[Json]:
    """All trials, or if they are too many each value by itself; of ranges the ends."""
    ends = {name: list(one.ends) for name, one in space.items()}
    if math.prod(map(len, ends.values())) <= MOST_CHECKED:
        yield from (dict(zip(ends, values, strict=True)) for values in product(*ends.values()))
        return
    first = {name: values[0] for name, values in ends.items()}
    yield from (first | {name: value} for name, values in ends.items() for value in values)
    yield {name: values[-1] for name, values in ends.items()}


def _blame(problem: Problem, parameters: Json) -> Problem:
    part, _, rest = problem.pointer.removeprefix("/").partition("/")
    name = f"{part}.{rest.partition('/')[0]}"
    if name in parameters:
        return Problem(pointer("search", name), f"{spelled(parameters[name])}: {problem.detail}")
    return problem


def _with(problem: Problem, parameters: Json) -> Problem:
    """A problem that not every trial has, with the settings that have it."""
    if problem.pointer.startswith("/search/"):
        return problem
    told = ", ".join(f"{name} = {spelled(value)}" for name, value in parameters.items())
    return Problem(problem.pointer, f"{problem.detail} (with {told})")


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise Invalid(f"This sweep cannot run: {problems[0].detail}", problems)
