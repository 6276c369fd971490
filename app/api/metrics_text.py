"""The Prometheus text of this process, or of all processes that serve the same socket."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import REGISTRY, Collector

PROCESS_LABEL = "process"  # the name of the process that counted


def own_text(predictions: Collector) -> bytes:
    """What this process counted: requests, and predictions by version."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(predictions)
    return generate_latest(REGISTRY) + generate_latest(registry)


class _Families(Collector):
    """Families that are known already."""

    def __init__(self, families: Mapping[str, Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()


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
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    return generate_latest(registry)
