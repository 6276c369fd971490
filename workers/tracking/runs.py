"""What is told of a training to an experiment tracker, and what a tracker does with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from app.database.tables import Job
from app.typedefs import Json

FIT, REFIT = "fit", "refit"
NAMED_PHASES = {"pretrain", "ablation", REFIT}  # whose curves have names of their own
PLACES = ("epoch", "stage", "member")  # numbers of an epoch that are no figures


@dataclass(frozen=True)
class TrackedJob:
    """A training as a tracker names it."""

    id: str
    project: str
    model: str
    settings: Mapping[str, str] = field(default_factory=dict)  # by names such as `network.cell`
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, job: Job) -> "TrackedJob":
        """From a job's row."""
        groups = {"network": job.network, "training": job.training, "options": job.options}
        settings = {
            f"{group}.{name}": str(value)
            for group, values in groups.items()
            for name, value in values.items()
        }
        tags = {"task": job.task, "dataset": job.dataset_id, "sweep": job.sweep_id}
        named = {name: value for name, value in tags.items() if value is not None}
        return cls(job.id, job.project, job.model, settings, named)


class RunStore(Protocol):
    """A tracker's runs, one for each job however many attempts it has; methods may raise anything."""

    def open(self, job: TrackedJob) -> str:
        """The id of the job's run, which is made unless there is one."""
        ...

    def log(self, run: str, figures: Mapping[str, float], step: int, at: float) -> None:
        """Add figures of one step, of seconds since 1970."""
        ...

    def close(self, run: str, status: str | None) -> None:
        """Say how the job ended; None for one that will go on."""
        ...


def epoch_figures(message: Json) -> dict[str, float]:
    """The figures of a child's message about an epoch; those of a refit have names of their own."""
    phase = message.get("phase", FIT)
    prefix = f"{phase}/" if phase in NAMED_PHASES else ""
    if "member" in message:
        prefix += f"network_{message['member'] + 1}/"
    return _numbers(message, prefix, PLACES)


def final_figures(message: Json) -> dict[str, float]:
    """The figures of a finished training on held-out data, and those of the baseline."""
    metrics, baseline = message.get("metrics") or {}, message.get("baseline") or {}
    return _numbers(metrics, "test/") | _numbers(baseline, "baseline/")


def _numbers(values: Json, prefix: str, left_out: tuple[str, ...] = ()) -> dict[str, float]:
    return {
        prefix + name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in left_out
    }
