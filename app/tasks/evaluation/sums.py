"""A tally of figures that are added up over the examples."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from app.arrays import Array
from app.typedefs import Json

Figures = Callable[[Json], Sequence[float] | Array]  # of one line
Metrics = Callable[[Array], Mapping[str, Array]]  # of sums (resamples, figures): each metric (resamples,)


class SumTally:
    """Sums of figures in each resample, and the metrics that are functions of them."""

    def __init__(self, resamples: int, width: int, figures: Figures, metrics: Metrics) -> None:
        self._figures, self._metrics = figures, metrics
        self._sums = np.zeros((resamples, width))

    def add(self, lines: Sequence[Json], weights: Array) -> None:
        """See `Tally`."""
        if lines:
            self._sums += weights @ np.array([self._figures(line) for line in lines], np.float64)

    def values(self) -> dict[str, Array]:
        """See `Tally`."""
        return dict(self._metrics(self._sums))

    def report(self) -> Json:
        """See `Tally`; there is nothing else."""
        return {}
