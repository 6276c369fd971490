"""Models with what can be done with them, blocking."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from recurra import operations, workflows
from recurra.errors import Json
from recurra.objects.curves import Curves
from recurra.objects.evaluation import Evaluation
from recurra.objects.jobs import Job, Version
from recurra.operations import MAX_PAGE_ENTRIES, quoted
from recurra.protocol.driver import Driver
from recurra.protocol.steps import Call
from recurra.records import DatasetRecord, Listing, ModelRecord
from recurra.results import Piece
from recurra.workflows import PRODUCTION, EvaluationRequest, Question


class Model(ModelRecord):
    """A model. One that was just trained answers with its new version, another one with `production`."""

    def __init__(self, data: Json, number: int | None, driver: Driver) -> None:
        super().__init__(data, number)
        self._driver = driver

    def refresh(self) -> Self:
        """Read it again; returns itself."""
        self.data = self._driver.run(operations.get(quoted("models", self.name)))
        return self

    def predict(
        self,
        data: Any = None,
        *,
        version: int | None = None,
        alias: str | None = None,
        columns: Mapping[str, str] | None = None,
        deadline_seconds: float | None = None,
        **settings: Any,
    ) -> Any:
        """The answers to data: a frame for a frame, a list for a list, one object for one instance.

        `settings` are parameters of the task, such as `horizon`, `level`, `top_k` or `temperature`, and roles
        of a frame's columns where these are not named as in the upload. A `Dataset` is not sent again.
        The service gives up after `deadline_seconds`. Raises `InvalidInput` and `RequestRefused`.
        """
        which = self.which(version, alias)
        question = Question(self.name, self.task, which, data, columns, settings, deadline_seconds)
        return self._driver.run(workflows.predict(question))

    def stream(
        self, data: Any = None, *, version: int | None = None, alias: str | None = None, **settings: Any
    ) -> Iterator[Piece]:
        """Yield the answer to one instance piece by piece, as it is made."""
        question = Question(self.name, self.task, self.which(version, alias), data, None, settings)
        return self._driver.iterate(workflows.stream(question))

    def explain(self, instance: Json, *, version: int | None = None, **more: Any) -> Json:
        """Which steps of an instance its prediction depended on; `more` is `parameters` and `method`."""
        body = {"instances": [instance], **more}
        path, which = quoted("models", self.name, "explain"), self.which(version, None)
        return self._driver.run(operations.ask(path, body, which))

    def predict_dataset(
        self,
        dataset: str | DatasetRecord,
        *,
        version: int | None = None,
        alias: str | None = None,
        **parameters: Any,
    ) -> Job:
        """Queue the prediction of a whole data set, however large; its `result` has a line an example."""
        name = dataset.id if isinstance(dataset, DatasetRecord) else dataset
        path, body = (
            quoted("models", self.name, "batch-predictions"),
            {"dataset": name, "parameters": parameters},
        )
        flow = operations.create(path, body, self.which(version, alias))
        return Job(self._driver.run(flow), self._driver)

    def evaluate(
        self,
        data: Any,
        answers: Any = None,
        *,
        versions: Sequence[int] | None = None,
        windows: int | None = None,
        step: int | None = None,
        refit: bool = False,
        baselines: Sequence[str] = (),
        columns: Mapping[str, str] | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> Evaluation:
        """Compare versions, by default this model's own, and baselines on data that have the answers.

        `data` are as for `Client.train`; `settings` are parameters of the task, and roles of columns. Raises
        `JobFailed`.
        """
        chosen = versions or (None if self.number is None else [self.number])
        request = EvaluationRequest(
            self.name, self.task, data, answers, chosen, windows, step, refit, baselines, columns, settings,
            progress,
        )  # fmt: skip
        return Evaluation(Job(self._driver.run(workflows.evaluate(request)), self._driver))

    def version(self, number: int | None = None) -> Version:
        """One version, by default the one that this model answers with."""
        number = number or self.number or self.refresh().aliases.get(PRODUCTION)
        return Version(self._driver.run(operations.version(self.name, number)), self._driver)

    def versions(self, limit: int = MAX_PAGE_ENTRIES) -> Listing[Version]:
        """Its versions, newest first."""
        entries = self._driver.run(operations.pages(quoted("models", self.name, "versions"), limit))
        return Listing([Version(entry, self._driver) for entry in entries])

    def curves(self) -> Curves:
        """How the losses of the version that answers went, epoch by epoch."""
        return self.version().curves()

    def promote(
        self,
        version: int | None = None,
        alias: str = PRODUCTION,
        *,
        shares: Mapping[int, float] | None = None,
        shadow: int | None = None,
        guard: Mapping[str, str] | None = None,
    ) -> Self:
        """Point an alias at a version, by default its own, or at several by `shares`; returns itself.

        `guard` is `{"evaluation": "job_…", "metric": "smape"}`: raises `Conflict` if the version is worse.
        """
        target = self.alias_target(version, shares, shadow, guard)
        call = Call("PUT", quoted("models", self.name, "aliases", alias), {"json": target})
        self._driver.run(operations.call_json(call))
        return self.refresh()

    def download(self, path: str | Path, version: int | None = None) -> Path:
        """Save a version's manifest, weights and ONNX graph as a zip file; returns its path."""
        return self.version(version).download(path)

    def delete(self) -> None:
        """Delete it, once it has no version left: its name is then free."""
        self._driver.run(operations.respond(Call("DELETE", quoted("models", self.name))))
