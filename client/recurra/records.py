"""The fields of models, versions, jobs and data sets, as they were last read, and how notebooks show them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

from recurra.describe import describe_job
from recurra.errors import InvalidInput, Json
from recurra.html import html_table, progress_bar
from recurra.operations import TERMINAL

MAX_SUMMARY_CHARS = 200  # of a value in a table


class Listed(Protocol):
    """An entry of a list."""

    def row(self) -> Json:
        """Its cells in a table by their headers."""
        ...


Entry = TypeVar("Entry", bound=Listed)


class Listing(list[Entry]):
    """A list of models, versions, jobs or data sets, which notebooks show as a table."""

    def _repr_html_(self) -> str:
        rows = [entry.row() for entry in self]
        header = list(rows[0]) if rows else []
        return html_table(f"{len(self):,} listed", header, [list(row.values()) for row in rows])


class Record:
    """What the service said of something; `data` is its JSON."""

    def __init__(self, data: Json) -> None:
        self.data = data


class DatasetRecord(Record):
    """An uploaded data set."""

    @property
    def id(self) -> str:
        """Its id, `ds_…`."""
        return str(self.data["id"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.data["name"])

    @property
    def task(self) -> str:
        """The task that it was uploaded for."""
        return str(self.data["task"])

    @property
    def summary(self) -> Json:
        """How it was understood."""
        return dict(self.data["summary"])

    @property
    def warnings(self) -> list[str]:
        """What the service noticed about it."""
        return list(self.data["warnings"])

    def row(self) -> Json:
        """Its cells in a table of several, by their headers."""
        return {"data set": self.id, "name": self.name, "task": self.task, "bytes": f"{self.data['bytes']:,}"}

    def __repr__(self) -> str:
        return f"<Dataset {self.id} {self.name!r}: {self.task}, {self.data['bytes']:,} bytes>"

    def _repr_html_(self) -> str:
        rows = [("task", self.task), ("bytes", f"{self.data['bytes']:,}")]
        rows += [(name, _shortened(value)) for name, value in self.summary.items()]
        rows += [("warning", text) for text in self.warnings]
        return html_table(f"{self.name} ({self.id})", (), rows)


class JobRecord(Record):
    """A job, as it was last read."""

    @property
    def id(self) -> str:
        """Its id, `job_…`."""
        return str(self.data["id"])

    @property
    def kind(self) -> str:
        """`train`, `sweep`, `batch_predict` or `evaluate`."""
        return str(self.data["kind"])

    @property
    def task(self) -> str:
        """The task of its model."""
        return str(self.data["task"])

    @property
    def status(self) -> str:
        """`queued`, `running`, `paused`, `succeeded`, `failed` or `cancelled`."""
        return str(self.data["status"])

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL

    @property
    def model_name(self) -> str:
        """The model that it is about."""
        return str(self.data["model"])

    @property
    def version_number(self) -> int | None:
        """The version that it has made."""
        number: int | None = self.data.get("model_version")
        return number

    @property
    def metrics(self) -> Json:
        """Its metrics so far."""
        return dict(self.data.get("metrics") or {})

    @property
    def progress(self) -> Json:
        """How far it is."""
        return dict(self.data.get("progress") or {})

    @property
    def error(self) -> str | None:
        """Why it failed."""
        error = self.data.get("error")
        return None if error is None else str(error["message"])

    def row(self) -> Json:
        """Its cells in a table of several, by their headers."""
        known: Json = {"job": self.id, "kind": self.kind, "task": self.task, "model": self.model_name}
        known["version"] = self.version_number
        return known | {"state": describe_job(self.data), "created": self.data.get("created_at")}

    def __repr__(self) -> str:
        return f"<Job {self.id}: {self.kind} of {self.model_name}, {describe_job(self.data)}>"

    def _repr_html_(self) -> str:
        rows = [(name, self.data.get(name)) for name in ("kind", "task", "model", "dataset", "model_version")]
        rows += [("error", self.error), ("created", self.data.get("created_at"))]
        rows += [(name, value) for name, value in self.metrics.items() if isinstance(value, int | float)]
        fraction = 1.0 if self.status == "succeeded" else float(self.progress.get("fraction") or 0)
        bar = progress_bar(self.status, fraction, describe_job(self.data))
        return bar + html_table(self.id, (), [row for row in rows if row[1] is not None])


class VersionRecord(Record):
    """One trained version of a model."""

    @property
    def model_name(self) -> str:
        """The model."""
        return str(self.data["model"])

    @property
    def number(self) -> int:
        """Its number, from 1 up."""
        return int(self.data["version"])

    @property
    def task(self) -> str:
        """The task of the model."""
        return str(self.data["task"])

    @property
    def metrics(self) -> Json:
        """Its metrics on held-out data."""
        return dict(self.data["metrics"])

    @property
    def baseline(self) -> Json:
        """Those of the answer without a network, on the same data."""
        return dict(self.data["baseline"])

    @property
    def options(self) -> Json:
        """The options that it was trained with."""
        return dict(self.data["options"])

    @property
    def job_id(self) -> str:
        """The job that has made it."""
        return str(self.data["job"])

    @property
    def dataset_id(self) -> str:
        """The data set that it was trained on."""
        return str(self.data["dataset"])

    @property
    def created_at(self) -> datetime:
        """When it was published."""
        return datetime.fromisoformat(self.data["created_at"])

    def comparison(self) -> list[tuple[str, float, float | None]]:
        """Each figure of `metrics`, beside that of the baseline where it has it."""
        numbers = {name: value for name, value in self.metrics.items() if isinstance(value, int | float)}
        shared = [name for name in numbers if name in self.baseline] or list(numbers)
        return [(name, numbers[name], self.baseline.get(name)) for name in shared]

    def row(self) -> Json:
        """Its cells in a table of several, by their headers."""
        figures = ", ".join(f"{name} {value:.4g}" for name, value, _ in self.comparison()[:3])
        return {"model": self.model_name, "version": self.number, "held-out data": figures}

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value:.4g}" for name, value, _ in self.comparison()[:3])
        return f"<Version {self.number} of {self.model_name}: {figures}>"

    def _repr_html_(self) -> str:
        title = f"{self.model_name} version {self.number} ({self.data['network'].get('cell', '')})"
        return html_table(title, ("held-out data", "network", "baseline"), self.comparison())


class ModelRecord(Record):
    """A model; `number` is the version that it answers with, None for `production`'s."""

    def __init__(self, data: Json, number: int | None) -> None:
        super().__init__(data)
        self.number = number

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.data["name"])

    @property
    def task(self) -> str:
        """Its task."""
        return str(self.data["task"])

    @property
    def aliases(self) -> dict[str, int]:
        """Alias -> the version with the largest share of its calls."""
        return dict(self.data["aliases"])

    @property
    def latest_version(self) -> int | None:
        """The number of its newest version."""
        number: int | None = self.data["latest_version"]
        return number

    def which(self, version: int | None, alias: str | None) -> dict[str, str | int]:
        """What is named as a query; this model's own version where nothing is."""
        if version is not None:
            return {"version": version}
        if alias is not None:
            return {"alias": alias}
        return {} if self.number is None else {"version": self.number}

    def alias_target(
        self,
        version: int | None,
        shares: Mapping[int, float] | None,
        shadow: int | None,
        guard: Mapping[str, str] | None,
    ) -> Json:
        """The body that points an alias at a version, by default this model's own; raises `InvalidInput`."""
        number = version or self.number
        if shares:
            target: Json = {"versions": {str(name): share for name, share in shares.items()}}
        elif number is not None:
            target = {"version": number}
        else:
            raise InvalidInput("name a version, or several with shares={3: 0.9, 4: 0.1}")
        more = {"shadow": shadow, "guard": None if guard is None else dict(guard)}
        return target | {name: value for name, value in more.items() if value is not None}

    def row(self) -> Json:
        """Its cells in a table of several, by their headers."""
        known = {"model": self.name, "task": self.task, "versions": self.latest_version}
        return known | {"aliases": ", ".join(f"{name} {one}" for name, one in sorted(self.aliases.items()))}

    def __repr__(self) -> str:
        answering = "production" if self.number is None else f"version {self.number}"
        return f"<Model {self.name}: {self.task}, answers with {answering}>"

    def _repr_html_(self) -> str:
        answering = "production" if self.number is None else f"version {self.number}"
        rows: list[tuple[str, Any]] = [("task", self.task), ("answers with", answering)]
        rows += [("versions", self.latest_version), *sorted(self.aliases.items())]
        return html_table(self.name, (), rows)


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_SUMMARY_CHARS else text[: MAX_SUMMARY_CHARS - 1] + "…"
