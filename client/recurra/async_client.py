"""The client: data in, models, jobs and data sets out, on an event loop."""

from collections.abc import Mapping
from typing import Any

from recurra import operations, workflows
from recurra.async_rest import AsyncRestClient
from recurra.errors import Json
from recurra.objects.async_jobs import AsyncDataset, AsyncJob
from recurra.objects.async_models import AsyncModel
from recurra.operations import MAX_PAGE_ENTRIES, quoted
from recurra.records import Listing
from recurra.workflows import TrainingRequest


class AsyncClient(AsyncRestClient):
    """A client of one server: of RECURRA_URL with RECURRA_API_KEY, or of what is passed.

    Methods that are named as routes (`get`, `submit`, `predict` …) take and return the JSON of the interface;
    the others take data and return objects. Close it, or use it in an `async with` statement.
    """

    async def train(
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
    ) -> AsyncModel:
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
        job = await self.driver.run(workflows.train(request))
        return await self.model(model, version=job["model_version"])

    async def start_training(
        self, data: Any, answers: Any = None, *, task: str, model: str, **request: Any
    ) -> AsyncJob:
        """Upload data and queue the job, as `train` does with the same arguments, without waiting."""
        flow = workflows.queue_training(data, answers, task, model, request)
        return AsyncJob(await self.driver.run(flow), self.driver)

    async def add_dataset(
        self,
        data: Any,
        answers: Any = None,
        *,
        task: str,
        columns: Mapping[str, str] | None = None,
        name: str | None = None,
        progress: bool = True,
        **roles: str,
    ) -> AsyncDataset:
        """Upload data for a task, as `train` does with them; the same data are stored once."""
        flow = workflows.upload_data(data, answers, task, columns, dict(roles), name, progress=progress)
        return AsyncDataset(await self.driver.run(flow), self.driver)

    async def model(self, name: str, version: int | None = None) -> AsyncModel:
        """A model that there is; with a version, one that answers with it."""
        return AsyncModel(await self.driver.run(operations.get(quoted("models", name))), version, self.driver)

    async def models(self, limit: int = MAX_PAGE_ENTRIES) -> Listing[AsyncModel]:
        """The models, newest first."""
        return Listing(
            [AsyncModel(entry, None, self.driver) for entry in await self.pages("/v1/models", limit)]
        )

    async def job(self, job_id: str) -> AsyncJob:
        """A job by its id."""
        return AsyncJob(await self.driver.run(operations.get(quoted("jobs", job_id))), self.driver)

    async def jobs(self, limit: int = MAX_PAGE_ENTRIES, **filters: str) -> Listing[AsyncJob]:
        """The jobs, newest first; `filters` are status, task, model, kind and sweep."""
        return Listing(
            [AsyncJob(entry, self.driver) for entry in await self.pages("/v1/jobs", limit, **filters)]
        )

    async def dataset(self, dataset_id: str) -> AsyncDataset:
        """A data set by its id."""
        return AsyncDataset(
            await self.driver.run(operations.get(quoted("datasets", dataset_id))), self.driver
        )

    async def datasets(self, limit: int = MAX_PAGE_ENTRIES) -> Listing[AsyncDataset]:
        """The data sets, newest first."""
        return Listing(
            [AsyncDataset(entry, self.driver) for entry in await self.pages("/v1/datasets", limit)]
        )
