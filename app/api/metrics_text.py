"""The Prometheus text of this process, or of all processes that serve the same socket."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import REGISTRY, Collector

from app.services.jobs.queries import QueueState

PROCESS_LABEL = "process"  # the name of the process that counted


def own_text(predictions: Collector) -> bytes:
    """What this process counted: requests, and predictions by version."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(predictions)
    return generate_latest(REGISTRY) + generate_latest(registry)


class _Families(Collector):
    """Families that are known already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _families_text(families: Iterable[Metric]) -> bytes:
    """The text of families."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    return generate_latest(registry)


def joint_text(texts: Mapping[str, bytes]) -> bytes:
    """The texts of processes, by name, as one: each sample has its process's name, if any, as a label."""
    if set(texts) == {""}:
        return texts[""]
    families: dict[str, Metric] = {}
    for name, text in texts.items():
        label = {PROCESS_LABEL: name} if name else {}
        for one in text_string_to_metric_families(text.decode()):
            family = families.setdefault(one.name, Metric(one.name, one.documentation, one.type))
            family.samples += [sample._replace(labels={**sample.labels, **label}) for sample in one.samples]
    return _families_text(families.values())


def queue_text(state: QueueState) -> bytes:
    """The text of a project's queue, and of the workers."""
    return _families_text(_queue_families(state))


def _queue_families(state: QueueState) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("recurra_jobs", "Jobs that are not over", labels=["status"])
    for status, number in state.jobs.items():
        jobs.add_metric([status], number)
    yield jobs
    yield GaugeMetricFamily(
        "recurra_oldest_queued_job_seconds",
        "How long the job has waited that waits longest",
        state.oldest_queued_seconds,
    )
    live = GaugeMetricFamily("recurra_workers", "Live workers", labels=["role"])
    for role, number in state.workers.items():
        live.add_metric([role], number)
    yield live
