"""Guards of aliases: a version answers only if an evaluation does not show it to be worse than the present.

The rule: of the paired difference of the metric, new minus present, on the same resampled examples, the 95 %
interval must not lie on the worse side of zero alone. Without an interval the difference itself decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.database.tables import Job
from app.errors import Conflict, Invalid, NotFound, Problem
from app.schemas import GuardIn
from app.states import EVALUATE, Status
from app.typedefs import Json
from app.validation.names import unknown_name

EVALUATION, METRIC = "/guard/evaluation", "/guard/metric"


@dataclass(frozen=True)
class Comparison:
    """A metric of a new and of a present version, and their difference, new minus present."""

    new: int
    present: int
    figures: tuple[Json, Json]
    difference: Json
    higher_is_better: bool

    @property
    def is_worse(self) -> bool:
        """Whether the new version is worse by the rule of this module."""
        value, low, high = (self.difference[name] for name in ("value", "low", "high"))
        if value is None:
            return True  # one of the two has no such figure
        best = (high if self.higher_is_better else low) if low is not None else value
        return bool(best < 0 if self.higher_is_better else best > 0)

    def describe(self, metric: str) -> str:
        """Both figures and the difference, as a sentence."""
        new, present = (one["value"] for one in self.figures)
        low, high = self.difference["low"], self.difference["high"]
        interval = "" if low is None else f" (95 % interval {low} to {high})"
        direction = "higher" if self.higher_is_better else "lower"
        return (
            f"version {self.new} has {metric} {new}, version {self.present} has {present}: a difference of "
            f"{self.difference['value']}{interval}, and {direction} is better"
        )


def check(
    session: Session, model: str, guard: GuardIn, shares: dict[int, float], present: dict[int, float]
) -> None:
    """Compare each version whose share of the calls grows with each whose share falls.

    `shares` are those after the move, `present` those before it. Raises `Conflict` with both figures if one
    is worse, or if the evaluation has not succeeded; `NotFound` or `Invalid`, with a pointer, if it is not of
    this model, or lacks a version or the metric.
    """
    metrics = _evaluation(session, model, guard).metrics or {}
    grown = [number for number, share in shares.items() if share > present.get(number, 0.0)]
    fallen = [number for number, share in present.items() if share > shares.get(number, 0.0)]
    missing = [number for number in [*grown, *fallen] if str(number) not in metrics["versions"]]
    if missing:
        evaluated = ", ".join(metrics["versions"])
        detail = f"it has evaluated version {evaluated}, not {', '.join(map(str, missing))}"
        raise Invalid(problems=[Problem(EVALUATION, detail)])
    better = metrics["higher_is_better"]
    if guard.metric not in better:
        raise Invalid(problems=[Problem(METRIC, unknown_name("metric", guard.metric, sorted(better)))])
    worse = [one for one in _comparisons(metrics, guard.metric, grown, fallen) if one.is_worse]
    if worse:
        problems = [Problem(METRIC, one.describe(guard.metric)) for one in worse]
        raise Conflict(f"The guard keeps the alias where it is: {problems[0].detail}", problems)


def _evaluation(session: Session, model: str, guard: GuardIn) -> Job:
    job = session.get(Job, guard.evaluation)
    if job is None:
        detail = f"there is no job {guard.evaluation}"
        raise NotFound(f"{EVALUATION}: {detail}", [Problem(EVALUATION, detail)])
    if job.kind != EVALUATE:
        raise Invalid(problems=[Problem(EVALUATION, f"this job is of kind {job.kind}, not {EVALUATE}")])
    if job.model != model:
        raise Invalid(problems=[Problem(EVALUATION, f"it is an evaluation of the model {job.model}")])
    if job.status != Status.SUCCEEDED:
        detail = f"the evaluation is {job.status}; it can guard once it has succeeded"
        raise Conflict(f"{EVALUATION}: {detail}", [Problem(EVALUATION, detail)])
    return job


def _comparisons(metrics: Json, metric: str, grown: list[int], fallen: list[int]) -> Iterator[Comparison]:
    differences = {(one["of"], one["minus"]): one["metrics"] for one in metrics["differences"]}
    undefined: Json = {"value": None, "low": None, "high": None}
    for new in grown:
        for present in fallen:
            pair = (str(new), str(present))
            if pair in differences:
                difference = differences[pair].get(metric, undefined)
            else:
                difference = _reversed(differences[pair[::-1]].get(metric, undefined))
            figures = [metrics["versions"][one].get(metric, undefined) for one in pair]
            better = metrics["higher_is_better"][metric]
            yield Comparison(new, present, (figures[0], figures[1]), difference, better)


def _reversed(difference: Json) -> Json:
    """The difference with the two versions exchanged."""
    value, low, high = (difference[name] for name in ("value", "high", "low"))
    return {
        name: None if figure is None else -figure
        for name, figure in (("value", value), ("low", low), ("high", high))
    }
