"""The metrics of an evaluation, from the lines of its result: intervals, and paired differences."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from app.arrays import Array
from app.tasks.evaluation.contract import EvaluationSet
from app.tasks.evaluation.resampling import CONFIDENCE, RESAMPLES, Resampler, estimate
from app.typedefs import Json

SEED = 0  # of the resamples


class Summary:
    """Adds up lines of the result, example by example, for each version and baseline by its name."""

    def __init__(self, evaluated: EvaluationSet, versions: Sequence[str], baselines: Sequence[str]) -> None:
        self._evaluated, self._versions, self._baselines = evaluated, list(versions), list(baselines)
        self._resampler = Resampler(SEED)
        names = [*versions, *baselines]
        self._tallies = {name: evaluated.tally(self._resampler.rows) for name in names}
        self._units: set[int] = set()
        self.examples = self.failed = 0

    def add(self, examples: Sequence[int], lines: Mapping[str, Sequence[Json]]) -> None:
        """Add the lines of some examples, by version or baseline.

        Examples that one of them could not predict are left out: all are compared on the same ones.
        """
        failed = {row for own in lines.values() for row, line in enumerate(own) if "error" in line}
        kept = [row for row in range(len(examples)) if row not in failed]
        self.failed += len(failed)
        self.examples += len(kept)
        if not kept:
            return
        units = self._evaluated.units([examples[row] for row in kept])
        if len(self._units) <= RESAMPLES:  # only whether there are several matters
            self._units.update(units.tolist())
        weights = self._resampler.weights(units)
        for name, own in lines.items():
            self._tallies[name].add([own[row] for row in kept], weights)

    def result(self) -> Json:
        """The metrics of the job."""
        values = {name: tally.values() for name, tally in self._tallies.items()}
        units = len(self._units)
        figures = {
            name: {metric: estimate(own, units) for metric, own in by_metric.items()}
            for name, by_metric in values.items()
        }
        reports = {name: tally.report() for name, tally in self._tallies.items()}
        kinds = dict.fromkeys(kind for report in reports.values() for kind in report)
        return {
            "examples": self.examples,
            "failed": self.failed,
            "resampling": {
                "unit": self._evaluated.unit,
                "resamples": RESAMPLES,
                "confidence": CONFIDENCE,
                "seed": SEED,
            },
            "higher_is_better": dict(self._evaluated.higher_is_better),
            "versions": {name: figures[name] for name in self._versions},
            "baselines": {name: figures[name] for name in self._baselines},
            "differences": [
                {"of": one, "minus": other, "metrics": _differences(values[one], values[other], units)}
                for one, other in self._pairs()
            ],
            **{kind: {name: reports[name][kind] for name in reports} for kind in kinds},
        }

    def _pairs(self) -> list[tuple[str, str]]:
        """Each later version and the ones before it, then each version and the baselines."""
        versions = [(later, earlier) for earlier, later in combinations(self._versions, 2)]
        return versions + [(one, other) for one in self._versions for other in self._baselines]


def _differences(ours: Mapping[str, Array], theirs: Mapping[str, Array], units: int) -> Json:
    """The differences of the metrics that both have, on the same resamples."""
    return {
        metric: estimate(values - theirs[metric], units)
        for metric, values in ours.items()
        if metric in theirs
    }
