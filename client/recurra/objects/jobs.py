"""Jobs, versions and data sets with what can be done with them, blocking."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

from recurra import operations, workflows
from recurra.errors import JobFailed, Json, RecurraError
from recurra.objects.curves import Curves
from recurra.operations import quoted
from recurra.protocol.driver import Driver
from recurra.protocol.steps import Call
from recurra.records import DatasetRecord, JobRecord, VersionRecord


class Dataset(DatasetRecord):
    """An uploaded data set."""

    def __init__(self, data: Json, driver: Driver) -> None:
        super().__init__(data)
        self._driver = driver

    def preview(self, limit: int = 10) -> list[Json]:
        """The first examples as they were understood."""
        rows: list[Json] = self._driver.run(
            operations.get(quoted("datasets", self.id, "preview"), {"limit": limit})
        )["data"]
        return rows

    def example(self, index: int) -> Json:
        """One example as a whole, from 0; one that is a file has its content in base64."""
        whole: Json = self._driver.run(operations.get(quoted("datasets", self.id, "examples", index)))
        return dict(whole["example"])

    def download(self, path: str | Path) -> Path:
        """Save the file as it was uploaded; returns its path."""
        self._driver.run(operations.save(quoted("datasets", self.id, "content"), Path(path)))
        return Path(path)

    def delete(self) -> None:
        """Delete it; raises `Conflict` while a live job needs it."""
        self._driver.run(operations.respond(Call("DELETE", quoted("datasets", self.id))))


class Version(VersionRecord):
    """One trained version of a model, with its figures on held-out data beside the baseline's."""

    def __init__(self, data: Json, driver: Driver) -> None:
        super().__init__(data)
        self._driver = driver

    def job(self) -> "Job":
        """The job that has made it."""
        return Job(self._driver.run(operations.get(quoted("jobs", self.job_id))), self._driver)

    def curves(self) -> Curves:
        """How its losses went, epoch by epoch."""
        return self.job().curves()

    def download(self, path: str | Path) -> Path:
        """Save manifest, weights and ONNX graph as a zip file; returns its path."""
        place = quoted("models", self.model_name, "versions", self.number, "artifact")
        self._driver.run(operations.save(place, Path(path)))
        return Path(path)

    def delete(self) -> None:
        """Delete it; raises `Conflict` while an alias points at it."""
        path = quoted("models", self.model_name, "versions", self.number)
        self._driver.run(operations.respond(Call("DELETE", path)))


class Job(JobRecord):
    """A job; what it says is as of the last time that it was read."""

    def __init__(self, data: Json, driver: Driver) -> None:
        super().__init__(data)
        self._driver = driver

    def refresh(self) -> Self:
        """Read it again; returns itself."""
        self.data = self._driver.run(operations.get(quoted("jobs", self.id)))
        return self

    def watch(self) -> Iterator[Self]:
        """Yield itself now and whenever it has changed, until its end."""
        for data in self._driver.iterate(operations.watch(self.id)):
            self.data = data
            yield self

    def wait(self, *, progress: bool = True) -> Self:
        """Wait for its end; returns itself. Raises `JobFailed` if it did not succeed."""
        try:
            self.data = self._driver.run(workflows.wait(self.data, progress=progress))
        except JobFailed as failed:
            self.data = failed.job
            raise
        return self

    def cancel(self) -> Self:
        """Ask it to end; one that runs stops at its next step."""
        return self._act("cancel")

    def pause(self) -> Self:
        """Ask it to write a checkpoint and release its worker."""
        return self._act("pause")

    def resume(self) -> Self:
        """Queue it again after a pause."""
        return self._act("resume")

    def events(self, after: int = 0) -> Iterator[Json]:
        """Yield its events `{"seq", "type", "at", "data"}` until its end, over broken connections."""
        return self._driver.iterate(operations.job_events(self.id, after))

    def curves(self) -> Curves:
        """How its losses went so far, epoch by epoch."""
        return Curves(self._driver.run(operations.get(quoted("jobs", self.id, "metrics")))["epochs"])

    def diagnostics(self) -> Json:
        """How far back the network reaches, by epoch, with a verdict on its gradients."""
        return self._driver.run(operations.get(quoted("jobs", self.id, "diagnostics")))

    def result(self) -> list[Json]:
        """The lines of a batch prediction or an evaluation."""
        return self._driver.run(workflows.read_result(self.id))

    def save_result(self, path: str | Path) -> Path:
        """Save these lines as a file; returns its path."""
        self._driver.run(operations.save(quoted("jobs", self.id, "result"), Path(path)))
        return Path(path)

    def version(self) -> Version:
        """The version that it has made; raises `RecurraError` if there is none yet."""
        if self.version_number is None:
            raise RecurraError(f"{self.id} has made no version")
        flow = operations.version(self.model_name, self.version_number)
        return Version(self._driver.run(flow), self._driver)

    def delete(self) -> None:
        """Delete it, its history and its result, once it has ended; a version that it made stays."""
        self._driver.run(operations.respond(Call("DELETE", quoted("jobs", self.id))))

    def _act(self, verb: str) -> Self:
        self.data = self._driver.run(operations.act(self.id, verb))
        return self
