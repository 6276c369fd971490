"""Forecasts and cross-validations for the package `nixtla`, by this service's models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import msgspec
import orjson
from sqlalchemy import select

from app.database.engine import Sessions
from app.database.tables import ModelVersion
from app.errors import Invalid, ModelNotTrained, NotFound, Problem
from app.prediction.request_errors import INSTANCE_PLACE, problems_moved
from app.prediction.request_parsing import MAX_INSTANCES
from app.services.nixtla.requests import (
    NixtlaCrossValidationIn,
    NixtlaForecastIn,
    NixtlaSeries,
    SeriesRequest,
    refuse,
)
from app.services.serving.predictions import PredictionService, seconds_left
from app.services.serving.version_router import ResolvedRoute, Route, VersionSelector
from app.tasks import TASKS
from app.tasks.series_contract import SeriesFacts, SeriesTask
from app.thread_pools import COMPUTING, VERSION_READS
from app.typedefs import Json
from app.validation.json_slices import MAX_JSON_VALUES
from app.validation.schema_errors import msgspec_problem

DEFAULT_MODELS = ("timegpt", "azureai")  # how names begin that mean no model of this service
MAX_MODELS_LISTED = 8
NO_NAMES = "this client sends them without names, so there must be all of them, in this order"


@dataclass(frozen=True)
class Window:
    """A forecast of one series: its origin and its place among the values of all series."""

    series: int
    begin: int  # of the series
    origin: int  # the first step to forecast


async def choose_model(service: PredictionService, readers: Sessions, name: str) -> ResolvedRoute:
    """The version of a model of series that answers; raises `NotFound`.

    A name of TimeGPT, which the client sends unless it is told another one, means the only such model.
    """
    try:
        resolved = await service.versions.choose(VersionSelector(name, None, None))
    except ModelNotTrained:
        raise
    except NotFound:
        if not name.startswith(DEFAULT_MODELS):
            raise
        only = await VERSION_READS.run(_only_model, readers, name)
        resolved = await service.versions.choose(VersionSelector(only, None, None))
    if not isinstance(resolved.route.task, SeriesTask):
        raise NotFound(f"The model {name} is for {resolved.route.task.name}; it forecasts no series")
    return resolved


def _only_model(readers: Sessions, name: str) -> str:
    tasks = [task.name for task in TASKS.values() if isinstance(task, SeriesTask)]
    query = select(ModelVersion.model).where(ModelVersion.task.in_(tasks)).distinct()
    with readers() as session:
        names = list(session.scalars(query.order_by(ModelVersion.model).limit(MAX_MODELS_LISTED)))
    if len(names) == 1:
        return names[0]
    known = f"name one of {', '.join(names)} as `model`" if names else "train one first"
    raise NotFound(f"There is no model {name}; {known}")


def facts_of(route: Route) -> SeriesFacts:
    """What a version forecasts."""
    task: object = route.task
    if not isinstance(task, SeriesTask):
        raise TypeError(f"{route.task.name} has no series")
    return task.series_facts(route.state)


def describe_model(route: Route) -> Json:
    """The answer about a model: how many values of a series it reads, and how far it forecasts."""
    facts = facts_of(route)
    return {"detail": {"input_size": facts.history, "horizon": facts.horizon}}


async def forecast(
    service: PredictionService,
    resolved: ResolvedRoute,
    request: NixtlaForecastIn,
    seconds: float,
    begun: float,
) -> bytes:
    """The body of the answer to a request for forecasts, within `seconds` of `begun`."""
    ends = list(accumulate(request.series.sizes))
    windows = [
        Window(index, end - size, end)
        for index, (end, size) in enumerate(zip(ends, request.series.sizes, strict=True))
    ]
    predictions = await _predict(service, resolved, request, windows, seconds, begun)
    more: Json = {"weights_x": None, "feature_contributions": None}
    left = seconds_left(seconds, begun)
    return await COMPUTING.run_within(left, _write_answer, request, predictions, more)


async def cross_validate(
    service: PredictionService,
    resolved: ResolvedRoute,
    request: NixtlaCrossValidationIn,
    seconds: float,
    begun: float,
) -> bytes:
    """The body of the answer to a request for forecasts of windows in the past."""
    if len(request.series.sizes) * request.n_windows > MAX_INSTANCES:
        refuse("n_windows", f"times the series may be {MAX_INSTANCES:,}: send the series in parts")
    windows = list(_windows(request))
    predictions = await _predict(service, resolved, request, windows, seconds, begun)
    sizes = [request.h * request.n_windows] * len(request.series.sizes)
    left = seconds_left(seconds, begun)
    return await COMPUTING.run_within(left, _write_answer, request, predictions, {"sizes": sizes}, windows)


def _windows(request: NixtlaCrossValidationIn) -> Iterator[Window]:
    """The windows of each series, the oldest first."""
    for index, end in enumerate(accumulate(request.series.sizes)):
        for number in range(request.n_windows - 1, -1, -1):
            origin = end - request.h - number * request.step
            yield Window(index, end - request.series.sizes[index], origin)


async def _predict(
    service: PredictionService,
    resolved: ResolvedRoute,
    request: SeriesRequest,
    windows: Sequence[Window],
    seconds: float,
    begun: float,
) -> list[Json]:
    """A prediction for each window."""
    facts = facts_of(resolved.route)
    if request.h > facts.horizon:
        refuse("h", f"the model {resolved.route.model} was trained for a horizon of {facts.horizon}")
    parameters = _parameters(resolved.route, request)
    left = seconds_left(seconds, begun)
    arguments = (resolved.route, facts, request, windows)
    instances = await COMPUTING.run_within(left, _instances, *arguments)
    with problems_moved(lambda problem: _of_series(problem, windows)):
        size = 8 * len(request.series.y)
        left = seconds_left(seconds, begun)
        predictions, _ = await service.predict(resolved, instances, parameters, left, size)
    return predictions


def _parameters(route: Route, request: SeriesRequest) -> Any:
    """The task's parameters: the intervals are asked for by their levels, but for that of the median."""
    levels = [percent for percent in request.level or () if percent]
    fields: Json = {"horizon": request.h, "quantiles": [], "level": levels}
    try:
        return msgspec.convert(fields, route.task.parameters)
    except msgspec.ValidationError as error:
        problem = msgspec_problem(str(error))
        raise Invalid(problems=[_in_request(problem)]) from None


def _in_request(problem: Problem) -> Problem:
    """A problem of the task's parameters as one of the request."""
    return Problem("/h" if "horizon" in problem.pointer else "/level", problem.detail)


def _of_series(problem: Problem, windows: Sequence[Window]) -> Problem:
    """A problem of an instance as one of the series that it is a window of."""
    if (match := INSTANCE_PLACE.match(problem.pointer)) is None:
        is_series = problem.pointer == "/instances"
        return Problem("/series", problem.detail) if is_series else _in_request(problem)
    return Problem("/series", f"the series {windows[int(match['index'])].series}: {problem.detail}")


def _instances(
    route: Route, facts: SeriesFacts, request: SeriesRequest, windows: Sequence[Window]
) -> list[Any]:
    """The windows as instances of the version's task; raises `Invalid`."""
    if sum(window.origin - window.begin for window in windows) > MAX_JSON_VALUES:
        raise Invalid(f"The windows have more than {MAX_JSON_VALUES:,} values: send the series in parts")
    past, future = _columns(request, facts)
    instance: Any = route.task.instance
    starts = request.series.start_datetime if facts.dated else None
    instances = []
    for number, window in enumerate(windows):
        span = slice(window.begin, window.origin)
        ahead = {
            name: cells[window.origin : window.origin + request.h]
            if isinstance(request, NixtlaCrossValidationIn)
            else cells[number * request.h : (number + 1) * request.h]
            for name, cells in future.items()
        }
        instances.append(
            instance(
                values=request.series.y[span],
                start=None if starts is None else starts[window.series],
                freq=request.freq if facts.dated else None,
                past={name: cells[span] for name, cells in past.items()},
                future=ahead,
            )
        )
    return instances


def _columns(request: SeriesRequest, facts: SeriesFacts) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns of values, and those of the steps ahead, by the names of the model's covariates.

    The client sends no names: columns are the model's, in its order, the ones that are known ahead first.
    """
    series: NixtlaSeries = request.series
    columns = series.past or []
    if isinstance(request, NixtlaCrossValidationIn):
        known = [index for index in range(len(columns)) if index not in (request.hist_exog or ())]
        ahead = [columns[index] for index in known]
        columns = [*ahead, *(columns[index] for index in range(len(columns)) if index not in known)]
    else:
        ahead = series.future or []
    if not columns and not ahead:
        return {}, {}
    if len(ahead) != len(facts.future) or len(columns) != len(facts.future) + len(facts.past):
        names = f"{list(facts.future)} in `X_df`, and {list(facts.past)} in `hist_exog_list`"
        refuse("series/X", f"the model was trained with the columns {names}; {NO_NAMES}")
    names_of_all = [*facts.future, *facts.past]
    return dict(zip(names_of_all, columns, strict=True)), dict(zip(facts.future, ahead, strict=True))


def _write_answer(
    request: SeriesRequest, predictions: Sequence[Json], more: Json, windows: Sequence[Window] = ()
) -> bytes:
    """The body of an answer: the forecasts one behind the other, and the ends of their intervals.

    The point forecast is the expectation, or the median where the client was asked for the quantile 0.5.
    """
    point = "median" if 0 in (request.level or ()) else "mean"
    answer: Json = {
        "input_tokens": len(request.series.y),
        "output_tokens": request.h * len(predictions),
        "finetune_tokens": 0,
        "mean": [value for one in predictions for value in one[point]],
        "intervals": None,
    }
    if request.level is not None:
        answer["intervals"] = dict(_intervals(request.level, predictions))
    if windows:
        answer["idxs"] = [
            step for window in windows for step in range(window.origin, window.origin + request.h)
        ]
    return orjson.dumps(answer | more)


def _intervals(level: Sequence[float], predictions: Sequence[Json]) -> Iterator[tuple[str, list[float]]]:
    """The ends of intervals by the names that the client expects, from the lowest to the highest."""
    levels = sorted(set(level), reverse=True)
    ends = [(f"lo-{percent:g}", percent, "lower") for percent in levels]
    ends += [(f"hi-{percent:g}", percent, "upper") for percent in reversed(levels)]
    for name, percent, end in ends:
        yield name, [value for one in predictions for value in _bound(one, percent, end)]


def _bound(prediction: Json, percent: float, end: str) -> list[float]:
    """One end of an interval at each step; the median's has no width."""
    numbers: list[float] = prediction["intervals"][f"{percent:g}"][end] if percent else prediction["median"]
    return numbers
