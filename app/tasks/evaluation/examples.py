"""How tasks evaluate whose examples have no origins in time: all but forecasting."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.arrays import Arrays
from app.errors import Problem
from app.tasks.evaluation.contract import EvaluationSet, EvaluationSettings, TrainedVersion
from app.typedefs import Json

Check = Callable[[Json, Sequence[Json], Any, EvaluationSettings], list[Problem]]
Open = Callable[[Arrays, Sequence[TrainedVersion]], EvaluationSet]


class ExampleEvaluation:
    """One window of examples, see `TaskEvaluation`. All baselines learn; parameters stay as they are."""

    has_windows = False

    def __init__(
        self,
        baselines: Sequence[str],
        check: Check,
        open_examples: Open,
        baseline_of: Callable[[Json], str] | None = None,
    ) -> None:
        """`baseline_of` chooses the baseline of a data set by its summary; otherwise it has all of them."""
        self.baselines: Mapping[str, bool] = dict.fromkeys(baselines, True)
        self._check, self._open, self._baseline_of = check, open_examples, baseline_of

    def always(self, summary: Json) -> Sequence[str]:
        """See `TaskEvaluation`."""
        return tuple(self.baselines) if self._baseline_of is None else (self._baseline_of(summary),)

    def check(
        self, summary: Json, states: Sequence[Json], parameters: Any, settings: EvaluationSettings
    ) -> list[Problem]:
        """See `TaskEvaluation`."""
        return self._check(summary, states, parameters, settings)

    def parameters(self, states: Sequence[Json], parameters: Any) -> Any:
        """The parameters as they are."""
        del states
        return parameters

    def open(
        self,
        arrays: Arrays,
        versions: Sequence[TrainedVersion],
        parameters: Any,
        settings: EvaluationSettings,
    ) -> EvaluationSet:
        """See `TaskEvaluation`."""
        del parameters, settings
        return self._open(arrays, versions)
