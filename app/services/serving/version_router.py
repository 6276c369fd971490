"""Routing of requests to model versions: which version answers, and which one shadows it."""

import asyncio
import logging
import random
import time
from bisect import bisect
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from math import inf
from typing import Any, NamedTuple

import orjson
from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Sessions
from app.database.tables import ModelVersion
from app.errors import AppError, ModelDamaged, NotFound, QueueFull
from app.infrastructure import artifacts
from app.infrastructure.storage import Storage
from app.prediction.codec import Codec
from app.services.models import aliases, versions
from app.tasks import TASKS
from app.tasks.contract import Output, Task
from app.thread_pools import VERSION_READS
from app.typedefs import Json

log = logging.getLogger(__name__)

MAX_AGE_SECONDS = 1.0  # of a cached resolution; a change whose notice was lost takes effect within them
LOOKUP_TIMEOUT_SECONDS = 1.0  # that a request waits for a hanging database where it has a stale resolution
REFRESH_AGE_SECONDS = 0.5  # from this age on a resolution in use is renewed in the background
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
    """What a selector stood for in the database at `resolved_at`."""

    resolved_at: float  # on the monotonic clock
    targets: tuple[ResolvedRoute, ...]
    bounds: tuple[float, ...]  # cumulative shares of the targets but for the last, which ends at 1


class VersionRouter:
    """Resolves selectors from a cache, so that requests do not wait for the database.

    During an outage of the database the last resolution stays in use. A router belongs to one event loop:
    only `_resolve` runs in threads, and it changes nothing.
    """

    def __init__(
        self, readers: Sessions, storage: Storage, draw: Callable[[], float] = random.random
    ) -> None:
        self._readers = readers
        self._storage = storage
        self._draw = draw  # uniform in [0, 1)
        self._resolutions: OrderedDict[VersionSelector, _Resolution] = OrderedDict()
        self._lookups: dict[VersionSelector, asyncio.Task[_Resolution]] = {}  # each shared by all who wait
        self._manifests: OrderedDict[str, tuple[Json, Json]] = OrderedDict()  # state and graph by artifact
        self._invalidations = 0

    async def choose(self, selector: VersionSelector) -> ResolvedRoute:
        """Draw the version to answer one request, by the shares of the alias; raises `NotFound`."""
        resolution = self._resolutions.get(selector)
        age = inf if resolution is None else time.monotonic() - resolution.resolved_at
        if resolution is None or age >= MAX_AGE_SECONDS:
            resolution = await self._look_up(selector, resolution)
        elif age >= REFRESH_AGE_SECONDS and selector not in self._lookups:
            self._start_lookup(selector)  # in the background
        return resolution.targets[bisect(resolution.bounds, self._draw()) if resolution.bounds else 0]

    def invalidate(self, model: str) -> None:
        """Forget a model's resolutions: an alias was moved or a version deleted."""
        self._invalidations += 1
        for selector in [key for key in (*self._resolutions, *self._lookups) if key.model == model]:
            self._resolutions.pop(selector, None)
            self._lookups.pop(selector, None)

    def invalidate_all(self) -> None:
        """Make every resolution stale: notices may have been missed. They still serve during an outage."""
        self._invalidations += 1
        self._lookups.clear()
        for selector, resolution in self._resolutions.items():
            self._resolutions[selector] = resolution._replace(resolved_at=float("-inf"))

    async def _look_up(self, selector: VersionSelector, last: _Resolution | None) -> _Resolution:
        lookup = self._lookups.get(selector) or self._start_lookup(selector)
        try:
            async with asyncio.timeout(None if last is None else LOOKUP_TIMEOUT_SECONDS):
                return await asyncio.shield(lookup)  # others may wait on when this caller is cancelled
        except (SQLAlchemyError, TimeoutError):
            if last is None:
                raise
            if self._resolutions.get(selector) is last:
                self._resolutions[selector] = last._replace(resolved_at=time.monotonic())
            return last

    def _start_lookup(self, selector: VersionSelector) -> "asyncio.Task[_Resolution]":
        lookup = self._lookups[selector] = asyncio.create_task(self._fetch(selector))
        lookup.add_done_callback(partial(self._end_lookup, selector))
        return lookup

    def _end_lookup(self, selector: VersionSelector, lookup: "asyncio.Task[_Resolution]") -> None:
        if self._lookups.get(selector) is lookup:
            del self._lookups[selector]
        if not lookup.cancelled():
            lookup.exception()  # retrieved here, because nobody else may be left to do so

    async def _fetch(self, selector: VersionSelector) -> _Resolution:
        invalidations, now = self._invalidations, time.monotonic()
        try:
            targets, bounds = await VERSION_READS.run(self._resolve, selector)
        except QueueFull:  # which says nothing of the version
            raise
        except AppError:
            self._resolutions.pop(selector, None)
            raise
        resolution = _Resolution(now, targets, bounds)
        for route in (route for target in targets for route in target if route is not None):
            _put(self._manifests, route.artifact, (route.state, route.graph), MAX_MANIFESTS)
        if invalidations == self._invalidations:  # else it may have been read before the change
            _put(self._resolutions, selector, resolution, MAX_SELECTORS)
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
        state, graph = self._manifests.get(reference := versions.reference(row)) or self._read_manifest(row)
        return Route(row.model, row.version, task, reference, state, graph)

    def _read_manifest(self, row: ModelVersion) -> tuple[Json, Json]:
        manifest = orjson.loads(artifacts.read_manifest(self._storage, row.artifact, row.sha256))
        graph = manifest.get("onnx", {})
        model = manifest.get("model")
        return manifest["state"], graph | _network_facts(model) if graph and model else graph


def _network_facts(model: Json) -> Json:
    """A network's kind of output, the sizes of the vocabularies of its inputs, and whether it looks ahead."""
    characters = [model.get("character_vocabulary", 0)] * model.get("word_length", 0)
    return {
        "output": model["output"],
        "vocabularies": [*model.get("vocabularies", []), *characters],
        "causal": not model.get("bidirectional", False),
    }


def _put(cache: "OrderedDict[Any, Any]", key: object, value: object, max_entries: int) -> None:
    """Put an entry into a cache; the oldest ones leave it beyond `max_entries`."""
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > max_entries:
        cache.popitem(last=False)
