"""The examples of a stored data set as the instances of one request."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, overload

from app.database.engine import Sessions
from app.errors import Invalid, Problem, describe_problems
from app.infrastructure.storage import Storage
from app.prediction.request_errors import INSTANCE_PLACE
from app.prediction.request_parsing import MAX_INSTANCES
from app.services import datasets
from app.services.jobs.batch_predictions import check_dataset
from app.services.serving.version_router import Route
from app.tasks.contract import Instances

BATCH_HINT = "POST /v1/models/{name}/batch-predictions predicts larger ones"


class StoredExamples(Sequence[Any]):
    """Instances in the order of a data set's examples; each is made when it is read."""

    def __init__(self, instances: Instances, size: int) -> None:
        self._instances = instances
        self.size = size  # bytes of the arrays that they are made from

    def __len__(self) -> int:
        return len(self._instances)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        """The instance at an index, or a list of those in a slice."""
        if isinstance(index, slice):
            return [self._instances[each] for each in range(*index.indices(len(self)))]
        return self._instances[index]


def open_examples(
    sessions: Sessions, storage: Storage, directory: Path, route: Route, dataset_id: str, parameters: Any
) -> StoredExamples:
    """The examples of a data set for a version; its arrays are mapped from files below `directory`.

    Raises `NotFound`, `NoSpace`, and `Invalid` where the version cannot predict the data set, or not at once.
    """
    with sessions() as session:
        dataset = datasets.get(session, dataset_id)
    problems = check_dataset(route.task, route.state, dataset, parameters)
    if not problems and getattr(parameters, "stream", False):
        problems = [Problem("/parameters/stream", "predictions of a data set are not streamed")]
    if problems:
        reason = describe_problems(problems)
        raise Invalid(f"This data set cannot be predicted by {route.model}: {reason}", problems)
    with TemporaryDirectory(dir=directory) as scratch:  # what is mapped is there until nobody reads it
        try:
            arrays, size = datasets.map_stored(storage, dataset_id, Path(scratch))
        except datasets.TooManyBytes as error:
            raise _too_large(error.message) from None
        instances = route.task.instances(arrays, route.state)
    if len(instances) > MAX_INSTANCES:
        detail = f"has {len(instances):,} examples, of which a request predicts {MAX_INSTANCES:,} at most"
        raise _too_large(detail)
    return StoredExamples(instances, size)


def _too_large(detail: str) -> Invalid:
    return Invalid(problems=[Problem("/dataset", f"{detail}; {BATCH_HINT}")])


def as_example_problem(problem: Problem) -> Problem:
    """A problem of an instance as one of the data set that it is an example of."""
    if problem.pointer == "/instances":
        return Problem("/dataset", problem.detail)
    if (match := INSTANCE_PLACE.match(problem.pointer)) is None:
        return problem
    rest = problem.pointer[match.end() :].removeprefix("/")
    place = f"example {match['index']}, {rest}" if rest else f"example {match['index']}"
    return Problem("/dataset", f"{place}: {problem.detail} A batch prediction answers the other examples.")
