"""What a task provides so that versions of a model can be evaluated on a data set that has the answers.

An evaluation has examples in a fixed order. Each version predicts them as requests would, and a baseline
learns from what a version was trained on. A line of the result is written for each example and predictor;
all metrics are functions of these lines, so that an interrupted evaluation goes on from the stored ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from app.arrays import Array, Arrays, Ints
from app.errors import Problem
from app.tasks.contract import Instances
from app.typedefs import Json


@dataclass(frozen=True)
class EvaluationSettings:
    """What a request chooses, with every default filled in."""

    baselines: tuple[str, ...]
    windows: int = 1  # of a task that forecasts: how many origins
    step: int | None = None  # steps from one origin to the next; None: the horizon
    refit: bool = False  # whether a network is trained anew for each window

    @classmethod
    def of(cls, options: Json) -> "EvaluationSettings":
        """From the options of a job."""
        return cls(tuple(options["baselines"]), options["windows"], options["step"], options["refit"])


@dataclass(frozen=True)
class TrainedVersion:
    """A version as its evaluation sees it."""

    state: Json
    seed: int  # of the split that it was trained with
    is_known: bool  # whether it was trained on the data set that is evaluated


@dataclass(frozen=True)
class TrainingData:
    """The data set that a version was trained on, from which baselines learn."""

    arrays: Arrays
    seed: int  # of its split


class ScoredWindow(NamedTuple):
    """Tokens (n + 1,) of which all but the first are predicted, each from those before it."""

    tokens: Ints
    skipped: int  # the first targets, which are context and are not scored


Predict = Callable[[Sequence[int]], list[Json]]  # the predictions of some examples, by their numbers


class Tally(Protocol):
    """Adds up what metrics are made of, of one version or baseline."""

    def add(self, lines: Sequence[Json], weights: Array) -> None:
        """Add lines of the result, with their weights (resamples, lines)."""
        ...

    def values(self) -> dict[str, Array]:
        """Each metric (resamples,), NaN where it is not defined."""
        ...

    def report(self) -> Json:
        """Figures without an interval, each under a name of the evaluation's metrics."""
        ...


class EvaluationSet(Protocol):
    """The examples of one evaluation, by number."""

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """The metrics by which versions can be compared, and whether more of each is better."""
        ...

    @property
    def windows(self) -> Sequence[range]:
        """The examples of each window; a task without windows has one."""
        ...

    @property
    def unit(self) -> str:
        """What is resampled, in a word."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What whoever reads the metrics should know."""
        ...

    def units(self, examples: Sequence[int]) -> Ints:
        """The numbers of what is resampled, such as the series that the examples belong to."""
        ...

    def identity(self, example: int) -> Json:
        """The fields of a line that name an example."""
        ...

    def instances(self, state: Json) -> Instances:
        """The examples as requests to a version with this state."""
        ...

    def actual(self, example: int) -> Any:
        """The answer of the data set, as JSON."""
        ...

    def baseline(self, name: str, training: TrainingData | None) -> Predict:
        """A baseline that has learned; its predictions have the form of a version's, where they can."""
        ...

    def errors(self, example: int, prediction: Json) -> Json:
        """How far a prediction is from the answer; with the prediction, all that `Tally.add` reads."""
        ...

    def tally(self, resamples: int) -> Tally:
        """An empty tally."""
        ...

    def training_arrays(self, window: int) -> Arrays:
        """What was known before a window, to train on; only of tasks that can refit."""
        ...


@runtime_checkable
class LikelihoodSet(Protocol):
    """An evaluation by how probable a network finds what is there, instead of what it predicts."""

    def scored(self, state: Json, example: int) -> list[ScoredWindow]:
        """The windows whose targets are the tokens of an example."""
        ...

    def likelihood(self, state: Json, example: int, nats: Sequence[Array]) -> Json:
        """The prediction of a line, from the negative log-likelihood of each window's targets, in nats."""
        ...


class TaskEvaluation(Protocol):
    """How a task evaluates."""

    @property
    def baselines(self) -> Mapping[str, bool]:
        """The baselines by name, and whether one needs the data that a version was trained on."""
        ...

    def always(self, summary: Json) -> Sequence[str]:
        """The baselines of every evaluation of such a data set; others are computed where they are named."""
        ...

    @property
    def has_windows(self) -> bool:
        """Whether the examples of a data set have origins in time."""
        ...

    def check(
        self, summary: Json, states: Sequence[Json], parameters: Any, settings: EvaluationSettings
    ) -> list[Problem]:
        """Reasons why a data set cannot be evaluated; pointers into the request."""
        ...

    def parameters(self, states: Sequence[Json], parameters: Any) -> Any:
        """The parameters with which every version predicts, so that predictions can be compared."""
        ...

    def open(
        self,
        arrays: Arrays,
        versions: Sequence[TrainedVersion],
        parameters: Any,
        settings: EvaluationSettings,
    ) -> EvaluationSet:
        """The examples of a data set; the arrays may be memory-mapped. Raises `Invalid` if there are none."""
        ...


@runtime_checkable
class EvaluatedTask(Protocol):
    """A task whose versions can be evaluated."""

    evaluation: TaskEvaluation
