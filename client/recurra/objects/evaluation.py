"""The result of an evaluation: figures with intervals, and paired differences."""

from recurra.errors import Json
from recurra.html import html_table
from recurra.records import JobRecord


class Evaluation:
    """Versions and baselines, compared on the same examples; `job` is the job that has computed it."""

    def __init__(self, job: JobRecord) -> None:
        self.job = job

    @property
    def examples(self) -> int:
        """How many examples count."""
        return int(self.job.metrics["examples"])

    @property
    def versions(self) -> dict[int, Json]:
        """Version -> metric -> `{"value", "low", "high"}`, the last two of a 95 % interval."""
        return {int(number): own for number, own in self.job.metrics["versions"].items()}

    @property
    def baselines(self) -> dict[str, Json]:
        """Baseline -> the same."""
        return dict(self.job.metrics["baselines"])

    @property
    def differences(self) -> list[Json]:
        """For each pair `{"of", "minus", "metrics"}`; an interval without zero means that they differ."""
        return list(self.job.metrics["differences"])

    def _figures(self) -> dict[str, Json]:
        return {f"version {number}": own for number, own in self.versions.items()} | self.baselines

    def __repr__(self) -> str:
        names = ", ".join(self._figures())
        return f"<Evaluation of {self.job.model_name} on {self.examples:,} examples: {names}>"

    def _repr_html_(self) -> str:
        figures = self._figures()
        names = list(dict.fromkeys(name for own in figures.values() for name in own))
        rows = [(name, *(describe_figure(own.get(name)) for own in figures.values())) for name in names]
        title = f"{self.job.model_name}: {self.examples:,} examples"
        return html_table(title, ("metric", *figures), rows)


def describe_figure(figure: Json | None) -> str:
    """A figure with its 95 % interval: `11.2 (10.9 to 11.6)`."""
    if figure is None or figure["value"] is None:
        return ""
    value = f"{figure['value']:.4g}"
    return value if figure["low"] is None else f"{value} ({figure['low']:.4g} to {figure['high']:.4g})"
