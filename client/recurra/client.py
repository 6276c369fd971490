"""The client: data in, models, jobs and data sets out, blocking."""

from collections.abc import Mapping
from typing import Any

from recurra import operations, workflows
from recurra.errors import Json
from recurra.objects.jobs import Dataset, Job
from recurra.objects.models import Model
from recurra.operations import MAX_PAGE_ENTRIES, quoted
from recurra.records import Listing
from recurra.rest import RestClient
from recurra.workflows import TrainingRequest


class Client(RestClient):
    """A client of one server: of RECURRA_URL with RECURRA_API_KEY, or of what is passed.

    Methods that are named as routes (`get`, `submit`, `predict` …) take and return the JSON of the interface;
    the others take data and return objects. Close it, or use it in a `with` statement.
    """

    def train(
        self,
        data: Any,
        answers: Any = None,
        *,
        task: str,
        model: str,
        network: Json | None = None,
        training: Json | None = None,
        metadata: Json | None = None,
        columns: Mapping[str, str] | None = None,
        name: str | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> Model:
        """Upload data, train a version of a model on them, wait with a progress bar, and return the model.

        `data` is a frame of pandas or polars, a list of examples with their `answers`, a file's path, a
        `Dataset` or its id. `settings` are options of the task, such as `horizon=14`, and roles of a frame's
        columns, such as `time="date"`. The model answers with the new version. Raises `InvalidInput`,
        `RequestRefused` and `JobFailed`.
        """
        request = TrainingRequest(
            data, task, model, answers, network or {}, training or {}, metadata or {}, columns, name,
            settings, progress,
        )  # fmt: skip
        job = self.driver.run(workflows.train(request))
        return self.model(model, version=job["model_version"])

    def start_training(self, data: Any, answers: Any = None, *, task: str, model: str, **request: Any) -> Job:
        """Upload data and queue the job, as `train` does with the same arguments, without waiting."""
        flow = workflows.queue_training(data, answers, task, model, request)
        return Job(self.driver.run(flow), self.driver)

    def add_dataset(
        self,
        data: Any,
        answers: Any = None,
        *,
        task: str,
        columns: Mapping[str, str] | None = None,
        name: str | None = None,
        progress: bool = True,
        **roles: str,
    ) -> Dataset:
        """Upload data for a task, as `train` does with them; the same data are stored once."""
        flow = workflows.upload_data(data, answers, task, columns, dict(roles), name, progress=progress)
        return Dataset(self.driver.run(flow), self.driver)

    def model(self, name: str, version: int | None = None) -> Model:
        """A model that there is; with a version, one that answers with it."""
        return Model(self.driver.run(operations.get(quoted("models", name))), version, self.driver)

    def models(self, limit: int = MAX_PAGE_ENTRIES) -> Listing[Model]:
        """The models, newest first."""
        return Listing([Model(entry, None, self.driver) for entry in self.pages("/v1/models", limit)])

    def job(self, job_id: str) -> Job:
        """A job by its id."""
        return Job(self.driver.run(operations.get(quoted("jobs", job_id))), self.driver)

    def jobs(self, limit: int = MAX_PAGE_ENTRIES, **filters: str) -> Listing[Job]:
        """The jobs, newest first; `filters` are status, task, model, kind and sweep."""
        return Listing([Job(entry, self.driver) for entry in self.pages("/v1/jobs", limit, **filters)])

    def dataset(self, dataset_id: str) -> Dataset:
        """A data set by its id."""
        return Dataset(self.driver.run(operations.get(quoted("datasets", dataset_id))), self.driver)

    def datasets(self, limit: int = MAX_PAGE_ENTRIES) -> Listing[Dataset]:
        """The data sets, newest first."""
        return Listing([Dataset(entry, self.driver) for entry in self.pages("/v1/datasets", limit)])
