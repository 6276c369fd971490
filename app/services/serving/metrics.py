"""What predictions cost, counted per version in plain numbers: a note takes a microsecond or two.

Prometheus and the Open Inference Protocol's statistics read the same counters, on the event loop that counts.
"""

import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.lanes import Answer, Lane

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DIFFERENCES = (1e-6, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.25, 0.5, 1.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
KEPT = 1024  # versions that are counted; beyond that the one least recently used is forgotten
LABELS = ("model", "version")


class Histogram:
    """Counts by upper bound, and the sum of what was observed."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' form: how many values are at most each bound."""
        names = [*(str(bound) for bound in self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class Meter:
    """The counters of one version in this process; times in seconds."""

    def __init__(self) -> None:
        self.phases = {phase: Histogram(SECONDS) for phase in ("queue", "compute", "total")}
        self.batches = Histogram(ROWS)
        self.inferences = 0  # rows
        self.executions = 0.0  # forward passes, those shared with other requests in part
        self.failures = 0
        self.failure_seconds = 0.0
        self.shadows: dict[str, int] = {}  # by outcome: same, different, failed, skipped
        self.differences = Histogram(DIFFERENCES)  # of a shadow's answers
        self.last = 0.0  # when the newest answer came, in epoch seconds
        self._queue, self._compute, self._total = self.phases.values()

    def note(self, answer: Answer, seconds: float) -> None:
        """Count an answered request that took so long from its first byte to its answer."""
        rows = len(answer.outputs)
        self.inferences += rows
        self.executions += rows / max(answer.batch, rows, 1)
        self._queue.observe(answer.queue_seconds)
        self._compute.observe(answer.compute_seconds)
        self._total.observe(seconds)
        self.batches.observe(answer.batch)
        self.last = time.time()

    def fail(self, seconds: float) -> None:
        """Count a request that got no prediction."""
        self.failures += 1
        self.failure_seconds += seconds

    def shadow(self, outcome: str) -> None:
        """Count a comparison with this version in the shadow."""
        self.shadows[outcome] = self.shadows.get(outcome, 0) + 1

    def differ(self, difference: float) -> None:
        """Count how far a shadow's answer was from the one given; infinite counts as in the last bucket."""
        self.differences.observe(min(difference, 2.0))


class Meters(Collector):
    """The meters of all versions, by (model, version), as a Prometheus collector."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._meters: OrderedDict[tuple[str, int], Meter] = OrderedDict()

    def of(self, model: str, version: int) -> Meter:
        """The counters of a version."""
        key = model, version
        found = self._meters.get(key)
        if found is None:
            found = self._meters[key] = Meter()
            if len(self._meters) > KEPT:
                self._meters.popitem(last=False)
        self._meters.move_to_end(key)
        return found

    def items(self) -> list[tuple[tuple[str, int], Meter]]:
        """All meters by (model, version), the most recently used last."""
        return list(self._meters.items())

    def collect(self) -> Iterator[Metric]:
        """Everything in Prometheus' form."""
        found = [((model, str(version)), meter) for (model, version), meter in self.items()]
        phases = HistogramMetricFamily(
            "recurra_prediction_seconds", "Where predictions spend their time", labels=[*LABELS, "phase"]
        )
        batches = HistogramMetricFamily(
            "recurra_prediction_batch_rows", "Rows of the batches that answered", labels=LABELS
        )
        for labels, meter in found:
            for phase, histogram in meter.phases.items():
                phases.add_metric([*labels, phase], histogram.cumulative(), histogram.total)
            batches.add_metric(labels, meter.batches.cumulative(), meter.batches.total)
        yield phases
        yield batches
        requests = CounterMetricFamily(
            "recurra_predictions", "Prediction requests by outcome", labels=[*LABELS, "outcome"]
        )
        rows = CounterMetricFamily("recurra_prediction_rows", "Instances predicted", labels=LABELS)
        for labels, meter in found:
            requests.add_metric([*labels, "succeeded"], meter.phases["total"].count)
            requests.add_metric([*labels, "failed"], meter.failures)
            rows.add_metric(labels, meter.inferences)
        yield requests
        yield rows
        shadows = CounterMetricFamily(
            "recurra_shadows", "Answers compared with a shadow version's", labels=[*LABELS, "outcome"]
        )
        for labels, meter in found:
            for outcome, number in sorted(meter.shadows.items()):
                shadows.add_metric([*labels, outcome], number)
        yield shadows
        differences = HistogramMetricFamily(
            "recurra_shadow_difference", "Largest relative difference of a shadow's answer", labels=LABELS
        )
        for labels, meter in found:
            if meter.shadows:
                differences.add_metric(labels, meter.differences.cumulative(), meter.differences.total)
        yield differences
        yield from self._lane_gauges()

    def _lane_gauges(self) -> Iterator[Metric]:
        lane = self._lane
        loaded = {artifact for presence in lane.present for artifact in presence.versions}
        for name, text, value in (
            ("recurra_lane_waiting_rows", "Rows of this process that have no answer yet", lane.waiting),
            ("recurra_lane_depth", "Requests of all processes in the lane when last seen", lane.depth),
            ("recurra_predictors", "Predictors when last seen", len(lane.present)),
            ("recurra_loaded_versions", "Versions in some predictor's memory", len(loaded)),
        ):
            yield GaugeMetricFamily(name, text, value)
        refused = CounterMetricFamily("recurra_lane_refusals", "Requests without an answer", labels=["code"])
        for code, number in sorted(lane.refused.items()):
            refused.add_metric([code], number)
        yield refused
