"""Counters of predictions per model version, in plain numbers: recording one takes a microsecond or two.

Prometheus and the Open Inference Protocol's statistics read the same counters, on the event loop that writes
them.
"""

import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.lanes import Answer, Lane

SECONDS_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
DIFFERENCE_BUCKETS = (1e-6, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.25, 0.5, 1.0)  # relative
MAX_DIFFERENCE = 2.0  # recorded instead of any larger difference, so that the sum stays finite
BATCH_ROWS_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
MAX_VERSIONS = 1024  # that have counters; beyond that the least recently used one loses them
VERSION_LABELS = ("model", "version")


class Histogram:
    """Counts of observed values by upper bound, and their sum."""

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
        """For each bound how many values are at most as large, in Prometheus' form."""
        names = [*(str(bound) for bound in self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class VersionMetrics:
    """The counters of one model version in this process; times in seconds."""

    def __init__(self) -> None:
        self.phases = {phase: Histogram(SECONDS_BUCKETS) for phase in ("queue", "compute", "total")}
        self.batches = Histogram(BATCH_ROWS_BUCKETS)
        self.inferences = 0  # rows
        self.executions = 0.0  # forward passes; of one that several requests shared, each counts its part
        self.explanations = {"succeeded": 0, "failed": 0}
        self.failures = 0
        self.failure_seconds = 0.0
        self.shadows: dict[str, int] = {}  # comparisons by outcome: same, different, failed, skipped
        self.differences = Histogram(DIFFERENCE_BUCKETS)  # of this version's answers as a shadow
        self.last_answer_at = 0.0  # epoch seconds
        self._queue, self._compute, self._total = self.phases.values()

    def record_answer(self, answer: Answer, seconds: float, rows: int = 0) -> None:
        """Count an answered request that took `seconds` from its first byte to its answer.

        It had as many rows as there are outputs, or those that are named, where it was sent as JSON.
        """
        rows = rows or len(answer.outputs)
        self.inferences += rows
        self.executions += rows / max(answer.batch, rows, 1)
        self._queue.observe(answer.queue_seconds)
        self._compute.observe(answer.compute_seconds)
        self._total.observe(seconds)
        self.batches.observe(answer.batch)
        self.last_answer_at = time.time()

    def record_failure(self, seconds: float) -> None:
        """Count a request that got no prediction."""
        self.failures += 1
        self.failure_seconds += seconds

    def record_explanation(self, *, succeeded: bool) -> None:
        """Count a request for an explanation."""
        self.explanations["succeeded" if succeeded else "failed"] += 1

    def record_shadow(self, outcome: str) -> None:
        """Count a comparison with this version as the shadow."""
        self.shadows[outcome] = self.shadows.get(outcome, 0) + 1

    def record_difference(self, difference: float) -> None:
        """Count how far this version's answer as a shadow was from the one returned; may be infinite."""
        self.differences.observe(min(difference, MAX_DIFFERENCE))


class PredictionMetrics(Collector):
    """The counters of all versions, and the lane's gauges, as a Prometheus collector."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._versions: OrderedDict[tuple[str, int], VersionMetrics] = OrderedDict()

    def of_version(self, model: str, version: int) -> VersionMetrics:
        """The counters of a version, which are made on first use."""
        key = model, version
        metrics = self._versions.get(key)
        if metrics is None:
            metrics = self._versions[key] = VersionMetrics()
            if len(self._versions) > MAX_VERSIONS:
                self._versions.popitem(last=False)
        self._versions.move_to_end(key)
        return metrics

    def items(self) -> list[tuple[tuple[str, int], VersionMetrics]]:
        """All counters by (model, version), the most recently used last."""
        return list(self._versions.items())

    def collect(self) -> Iterator[Metric]:
        """All metric families for Prometheus."""
        versions = [((model, str(version)), metrics) for (model, version), metrics in self.items()]
        yield from _latency_families(versions)
        yield from _request_families(versions)
        yield from _shadow_families(versions)
        yield from self._lane_families()

    def _lane_families(self) -> Iterator[Metric]:
        lane = self._lane
        loaded = {artifact for presence in lane.known_predictors for artifact in presence.versions}
        for name, text, value in (
            ("recurra_lane_waiting_rows", "Rows of this process that have no answer yet", lane.waiting_rows),
            ("recurra_lane_depth", "Requests of all processes in the lane when last seen", lane.depth),
            ("recurra_predictors", "Predictors when last seen", len(lane.known_predictors)),
            ("recurra_loaded_versions", "Versions in some predictor's memory", len(loaded)),
        ):
            yield GaugeMetricFamily(name, text, value)
        refused = CounterMetricFamily("recurra_lane_refusals", "Requests without an answer", labels=["code"])
        for code, number in sorted(lane.error_counts.items()):
            refused.add_metric([code], number)
        yield refused


LabelledMetrics = Sequence[tuple[tuple[str, str], VersionMetrics]]  # the values of `VERSION_LABELS` first


def _latency_families(versions: LabelledMetrics) -> Iterator[Metric]:
    phases = HistogramMetricFamily(
        "recurra_prediction_seconds", "Where predictions spend their time", labels=[*VERSION_LABELS, "phase"]
    )
    batches = HistogramMetricFamily(
        "recurra_prediction_batch_rows", "Rows of the batches that answered", labels=VERSION_LABELS
    )
    for labels, metrics in versions:
        for phase, histogram in metrics.phases.items():
            phases.add_metric([*labels, phase], histogram.cumulative(), histogram.total)
        batches.add_metric(labels, metrics.batches.cumulative(), metrics.batches.total)
    yield phases
    yield batches


def _request_families(versions: LabelledMetrics) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "recurra_predictions", "Prediction requests by outcome", labels=[*VERSION_LABELS, "outcome"]
    )
    rows = CounterMetricFamily("recurra_prediction_rows", "Instances predicted", labels=VERSION_LABELS)
    for labels, metrics in versions:
        requests.add_metric([*labels, "succeeded"], metrics.phases["total"].count)
        requests.add_metric([*labels, "failed"], metrics.failures)
        rows.add_metric(labels, metrics.inferences)
    explanations = CounterMetricFamily(
        "recurra_explanations", "Requests for explanations by outcome", labels=[*VERSION_LABELS, "outcome"]
    )
    for labels, metrics in versions:
        for outcome, number in metrics.explanations.items():
            explanations.add_metric([*labels, outcome], number)
    yield requests
    yield rows
    yield explanations


def _shadow_families(versions: LabelledMetrics) -> Iterator[Metric]:
    shadows = CounterMetricFamily(
        "recurra_shadows", "Answers compared with a shadow version's", labels=[*VERSION_LABELS, "outcome"]
    )
    differences = HistogramMetricFamily(
        "recurra_shadow_difference",
        "Largest relative difference of a shadow's answer",
        labels=VERSION_LABELS,
    )
    for labels, metrics in versions:
        for outcome, number in sorted(metrics.shadows.items()):
            shadows.add_metric([*labels, outcome], number)
        if metrics.shadows:
            differences.add_metric(labels, metrics.differences.cumulative(), metrics.differences.total)
    yield shadows
    yield differences
