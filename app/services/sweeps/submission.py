"""Submission of sweeps: jobs whose trials are jobs; every trial runs once for each seed.

A sweep is checked and stored here, read in `state`, and advanced in `advance`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from app.database.tables import Dataset, Job
from app.errors import Invalid, Problem, describe_problems, pointer
from app.hyperparameters.options import TRAINING, NetworkIn, TrainingIn
from app.hyperparameters.space import (
    Space,
    apply_parameters,
    canonical_json,
    count_settings,
    parse_axis,
    setting_type,
)
from app.schemas import JobIn
from app.services.jobs import devices, submission
from app.services.jobs.memory_estimate import memory_problems, most_memory
from app.services.jobs.submission import ResolvedJobConfig
from app.services.sweeps.search import MAXIMIZE, MINIMIZE, SweepIn
from app.states import SWEEP
from app.tasks import TASKS
from app.tasks.contract import Task
from app.tasks.shared.validation_metrics import VALIDATION_LOSS
from app.typedefs import Json
from app.validation.names import unknown_name
from app.validation.schema_errors import pydantic_problems

MAX_CHECKED_TRIALS = 500  # a smaller space is checked trial by trial, a larger one value by value
MAX_GRID_TRIALS = 10_000
MAX_PROBLEMS = 20  # of one sweep, that are reported
SEED, DEVICE = "training.seed", "training.device"


def submit(session: Session, request: SweepIn) -> Job:
    """Check the trials as jobs are checked, and store a queued sweep; the caller commits."""
    task, dataset = submission.load_task_and_dataset(session, request)
    space = _space(task, request)
    also = submission.check_model_task(session, request)
    base = _base(request)
    also += _device_problems(session, request, space)
    trials = _check_trials(task, dataset, base, space, also)
    _refuse(_memory_problems(session, task, dataset, trials))
    sweep_metrics = {VALIDATION_LOSS: False, **task.sweep_metrics(dataset.summary)}
    _refuse(list(_metric_problems(request, task, sweep_metrics)))
    total = count_settings(space)
    search = request.model_dump(include={"metric", "max_trials", "seeds", "max_parallel", "max_seconds"}) | {
        "space": request.search,
        "sampler": _choose_sampler(request, total),
        "direction": MAXIMIZE if sweep_metrics[request.metric] else MINIMIZE,
        "prune": request.metric == VALIDATION_LOSS if request.prune is None else request.prune,
        "seed": TRAINING["seed"] if request.training.seed is None else request.training.seed,
        "max_trials": request.max_trials if total is None else min(total, request.max_trials),
    }
    parts = {part: base[part] for part in ("network", "training", "options")}
    return submission.add_job(session, request, SWEEP, search=search, **parts)


def _choose_sampler(request: SweepIn, total: int | None) -> str:
    """The requested sampler; by default the grid, where its `total` trials are few enough, else TPE."""
    is_small = total is not None and total <= request.max_trials
    sampler = request.sampler or ("grid" if is_small else "tpe")
    if sampler == "grid" and (total is None or total > MAX_GRID_TRIALS):
        reason = "without an end" if total is None else f"of {total:,} trials, more than {MAX_GRID_TRIALS:,}"
        _refuse([Problem("/sampler", f"this is a grid {reason}; take tpe or random, or give steps")])
    return sampler


def space_of(task: Task, search: Json) -> Space:
    """The space of a search, each setting checked against its field; raises `Invalid`."""
    parts: dict[str, type[BaseModel]] = {
        "network": NetworkIn,
        "training": TrainingIn,
        "options": task.options,
    }
    space, problems = {}, []
    for name, dimension in search.items():
        if reason := _unknown_setting(name, parts):
            problems.append(Problem(pointer("search", name), reason))
            continue
        try:
            space[name] = parse_axis(dimension, setting_type(name, parts))
        except ValueError as error:
            problems.append(Problem(pointer("search", name), str(error)))
    _refuse(problems)
    return space


def _unknown_setting(name: str, parts: Mapping[str, type[BaseModel]]) -> str | None:
    """A sentence about a setting that its part does not have, or that is named without its part."""
    fields = {part: model.model_fields.keys() for part, model in parts.items()}
    part, _, setting = name.rpartition(".")
    is_known = (
        setting in fields.get(part, ()) if part else all(setting not in names for names in fields.values())
    )
    if is_known or (part and part not in fields):
        return None
    known = fields.pop(part, ())
    return unknown_name("setting", setting, known, {f"`{part}.…`": names for part, names in fields.items()})


def base_of(sweep: Job) -> Json:
    """The job request that all trials share, from the sweep's row."""
    names = {"task": sweep.task, "dataset": sweep.dataset_id, "model": sweep.model}
    parts = {"network": sweep.network, "training": sweep.training, "options": sweep.options}
    return {**names, **parts, "metadata": sweep.job_metadata}


def resolve(task: Task, dataset: Dataset, base: Json, parameters: Json, also: Any = ()) -> ResolvedJobConfig:
    """The configuration of a trial's runs; raises `Invalid` with pointers into a job request.

    `also` are problems that are known already.
    """
    content = base | apply_parameters(base, parameters)
    try:
        request = JobIn.model_validate(content)
    except ValidationError as error:
        raise Invalid(problems=pydantic_problems(error.errors(include_url=False), content)) from None
    return submission.resolve(task, dataset, request, also)


def task_of(sweep: Job) -> Task:
    """The task of a sweep's trials."""
    return TASKS[sweep.task]


def _metric_problems(request: SweepIn, task: Task, sweep_metrics: Json) -> Iterator[Problem]:
    """Why trials cannot be compared by the requested metric, or be pruned by their losses."""
    if request.metric not in sweep_metrics:
        choices = ", ".join(sweep_metrics)
        yield Problem("/metric", f"{request.metric} is not measured here; choose from {choices}")
    others = ", ".join(name for name in sweep_metrics if name != VALIDATION_LOSS)
    for name in sorted(task.loss_changing & request.search.keys()):
        if request.metric == VALIDATION_LOSS:
            detail = f"losses cannot be compared across values of this: choose another metric ({others})"
            yield Problem(pointer("search", name), detail)
        elif request.prune:
            yield Problem("/prune", f"pruning compares losses, and those change their meaning with {name}")


def _device_problems(session: Session, request: SweepIn, space: Space) -> list[Problem]:
    """Why a trial's device is one that no live worker has."""
    if DEVICE not in space:
        device = request.training.device or devices.AUTO
        return devices.check_device(session, device, pointer("training", "device"))
    at = pointer("search", DEVICE)
    return [one for value in space[DEVICE].bounds for one in devices.check_device(session, value, at)]


def _base(request: SweepIn) -> Json:
    """The job request that all trials share: only fields that the sweep's request names."""
    names = request.model_dump(include={"task", "dataset", "model", "metadata"})
    network = submission.explicit_fields(request.network)
    training = submission.explicit_fields(request.training)
    return {**names, "network": network, "training": training, "options": request.options}


def _space(task: Task, request: SweepIn) -> Space:
    fixed = {
        f"{part}.{name}"
        for part in ("network", "training")
        for name in submission.explicit_fields(getattr(request, part))
    }
    fixed |= {f"options.{name}" for name in request.options}
    detail = "this setting is fixed too; leave it out there or here"
    problems = [Problem(pointer("search", name), detail) for name in request.search if name in fixed]
    if SEED in request.search:
        problems.append(Problem(pointer("search", SEED), "each trial runs with several seeds; see `seeds`"))
    _refuse(problems)
    return space_of(task, request.search)


def _check_trials(
    task: Task, dataset: Dataset, base: Json, space: Space, also: list[Problem]
) -> list[tuple[Json, ResolvedJobConfig]]:
    """Check trials as jobs; returns their parameters and configurations.

    Each problem is reported once, at the searched setting that causes it.
    """
    problems: dict[Problem, Json] = {}  # with the first parameters that have the problem
    trials: list[tuple[Json, ResolvedJobConfig]] = []
    for parameters in _probes(space):
        try:
            trials.append((parameters, resolve(task, dataset, base, parameters, also)))
        except Invalid as error:
            for problem in error.problems:
                problems.setdefault(_point_at_search(problem, parameters), parameters)
        if len(problems) >= MAX_PROBLEMS:
            break
    _refuse([_with_parameters(problem, at) if trials else problem for problem, at in problems.items()])
    return trials


def _memory_problems(
    session: Session, task: Task, dataset: Dataset, trials: Sequence[tuple[Json, ResolvedJobConfig]]
) -> list[Problem]:
    """The problems of the last trial that no worker has the memory for: where values rise, of the largest."""
    most = cache(partial(most_memory, session))
    for parameters, config in reversed(trials):
        options = submission.check_options(task, config.options)
        settings = (config.network, config.training)
        too_much = memory_problems(most(config.training["device"]), task, dataset.summary, options, settings)
        if too_much:
            return [_with_parameters(_point_at_search(one, parameters), parameters) for one in too_much]
    return []


def _probes(space: Space) -> Iterator[Json]:
    """The trials to check: all of them, of ranges only the ends; in a large space each value by itself."""
    ends = {name: list(axis.bounds) for name, axis in space.items()}
    if math.prod(map(len, ends.values())) <= MAX_CHECKED_TRIALS:
        yield from (dict(zip(ends, values, strict=True)) for values in product(*ends.values()))
        return
    first = {name: values[0] for name, values in ends.items()}
    yield from (first | {name: value} for name, values in ends.items() for value in values)
    yield {name: values[-1] for name, values in ends.items()}


def _point_at_search(problem: Problem, parameters: Json) -> Problem:
    """The problem with a pointer to the searched setting, where it is one's value that is wrong."""
    part, _, rest = problem.pointer.removeprefix("/").partition("/")
    name = f"{part}.{rest.partition('/')[0]}"
    if name in parameters:
        return Problem(pointer("search", name), f"{canonical_json(parameters[name])}: {problem.detail}")
    return problem


def _with_parameters(problem: Problem, parameters: Json) -> Problem:
    """A problem that some trials do not have, with the parameters of one that has it."""
    if problem.pointer.startswith("/search/"):
        return problem
    values = ", ".join(f"{name} = {canonical_json(value)}" for name, value in parameters.items())
    return Problem(problem.pointer, f"{problem.detail} (with {values})")


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise Invalid(f"This sweep cannot run: {describe_problems(problems)}", problems)
