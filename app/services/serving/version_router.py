"""Routing of requests to model versions: which version answers, and which one shadows it."""

import logging
import random
from bisect import bisect
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import orjson

from app.database.engine import Sessions
from app.database.tables import ModelVersion
from app.errors import AppError, ModelDamaged, NotFound
from app.infrastructure import artifacts
from app.infrastructure.storage import Storage
from app.prediction.codec import Codec
from app.services.lookup_cache import LookupCache
from app.services.models import aliases, versions
from app.tasks import TASKS
from app.tasks.contract import Output, Task
from app.thread_pools import VERSION_READS
from app.typedefs import Json

log = logging.getLogger(__name__)

MAX_SELECTORS, MAX_MANIFESTS = 4096, 512  # entries of the two caches
MAX_VERSION = 2**31 - 1  # that the database's column can hold


@dataclass(frozen=True)
class Route:
    """A version that can answer: where its files are, and what its task and its graph need."""

    model: str
    version: int
    task: Task
    artifact: str  # by what name predictors are asked for it
    state: Json
    graph: Json  # the manifest's description of the exported graph; empty where it has none
    columns: Json = field(default_factory=dict)  # of the upload that it was trained on, by canonical names

    @cached_property
    def codec(self) -> Codec:
        """How its instances are read and its predictions written."""
        return Codec(self.task, self.state)

    @cached_property
    def stepwise(self) -> bool:
        """Whether the network is asked for one token after the other."""
        return "output" in self.graph and Output(self.graph["output"]).stepwise


def parse_version(text: str) -> int | None:
    """The version number in `text`; None where no version can have such a number."""
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(MAX_VERSION)):
        return None
    return number if 1 <= (number := int(text)) <= MAX_VERSION else None


class VersionSelector(NamedTuple):
    """How a request names a version: by number, by alias, or by neither (the alias `production`)."""

    model: str
    version: int | None
    alias: str | None


class ResolvedRoute(NamedTuple):
    """The version that answers a request, and the one that computes it as the shadow."""

    route: Route
    shadow: Route | None


class _Resolution(NamedTuple):
    """What a selector stood for in the database."""

    targets: tuple[ResolvedRoute, ...]
    bounds: tuple[float, ...]  # cumulative shares of the targets but for the last, which ends at 1


class VersionRouter:
    """Resolves selectors of a project from a cache, so that requests do not wait for the database.

    During an outage of the database the last resolution stays in use. A router belongs to one event loop:
    only `_resolve` runs in threads, and it changes nothing.
    """

    def __init__(
        self, readers: Sessions, storage: Storage, draw: Callable[[], float] = random.random
    ) -> None:
        self._readers = readers
        self._storage = storage
        self._draw = draw  # uniform in [0, 1)
        self._cache: LookupCache[VersionSelector, _Resolution] = LookupCache(self._fetch, MAX_SELECTORS)
        self._manifests: OrderedDict[str, tuple[Json, Json, Json]] = OrderedDict()  # parts, by artifact

    async def choose(self, selector: VersionSelector) -> ResolvedRoute:
        """Draw the version to answer one request, by the shares of the alias; raises `NotFound`."""
        resolution = await self._cache.get(selector)
        return resolution.targets[bisect(resolution.bounds, self._draw()) if resolution.bounds else 0]

    def invalidate(self, model: str) -> None:
        """Forget a model's resolutions: an alias was moved or a version deleted."""
        self._cache.forget(lambda selector: selector.model == model)

    def invalidate_all(self) -> None:
        """Make every resolution stale: notices may have been missed. They still serve during an outage."""
        self._cache.distrust()

    async def _fetch(self, selector: VersionSelector) -> _Resolution:
        resolution = _Resolution(*await VERSION_READS.run(self._resolve, selector))
        for route in (route for target in resolution.targets for route in target if route is not None):
            self._manifests[route.artifact] = route.state, route.graph, route.columns
            self._manifests.move_to_end(route.artifact)
            while len(self._manifests) > MAX_MANIFESTS:
                self._manifests.popitem(last=False)
        return resolution

    def _resolve(self, selector: VersionSelector) -> tuple[tuple[ResolvedRoute, ...], tuple[float, ...]]:
        with self._readers() as session:
            resolved = aliases.resolve(session, *selector)
        shadow = None
        if resolved.shadow is not None:
            try:
                shadow = self._route(resolved.shadow)
            except AppError as error:  # a broken shadow must not harm the version that answers
                log.warning("The shadow of %s cannot compute: %s", selector.model, error)
        try:
            targets = tuple(ResolvedRoute(self._route(row), shadow) for row, _ in resolved.answering)
        except ModelDamaged:
            with self._readers() as session:  # raises `NotFound` if the version was deleted meanwhile
                aliases.resolve(session, *selector)
            raise
        return targets, tuple(accumulate(share for _, share in resolved.answering))[:-1]

    def _route(self, row: ModelVersion) -> Route:
        task = TASKS.get(row.task)
        if task is None:
            raise NotFound(f"The model {row.model} is for {row.task}, a task this server does not have")
        reference = versions.reference(row)
        state, graph, columns = self._manifests.get(reference) or self._read_manifest(row)
        return Route(row.model, row.version, task, reference, state, graph, columns)

    def _read_manifest(self, row: ModelVersion) -> tuple[Json, Json, Json]:
        manifest = orjson.loads(artifacts.read_manifest(self._storage, row.artifact, row.sha256))
        graph = manifest.get("onnx", {})
        model = manifest.get("model")
        graph = graph | _network_facts(model) if graph and model else graph
        return manifest["state"], graph, manifest.get("columns", {})


def _network_facts(model: Json) -> Json:
    """A network's kind of output, the sizes of the vocabularies of its inputs, and whether it looks ahead."""
    characters = [model.get("character_vocabulary", 0)] * model.get("word_length", 0)
    return {
        "output": model["output"],
        "vocabularies": [*model.get("vocabularies", []), *characters],
        "causal": not model.get("bidirectional", False),
    }
