"""The catalog: which version answers a request, and which one shadows it."""

import asyncio
import logging
import random
import time
from bisect import bisect
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from math import inf
from typing import Any, NamedTuple

import orjson
from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Sessions
from app.database.tables import ModelVersion
from app.errors import AppError, NotFound
from app.infrastructure.storage import Storage
from app.services.models import aliases
from app.tasks import TASKS
from app.tasks.contract import Task
from app.typedefs import Json

log = logging.getLogger(__name__)

FRESH = 1.0  # seconds a resolved name is believed; a move that nobody could tell is seen within them
PATIENCE = 1.0  # seconds a call waits for a database that hangs, if there is a last answer
AHEAD = 0.5  # from this age on a name in use is looked up before it has to be
NAMES, MANIFESTS = 4096, 512  # entries kept


@dataclass(frozen=True)
class Route:
    """A version that can answer: where its files are, and what its task and its graph need to know."""

    model: str
    version: int
    task: Task
    artifact: str
    state: Json
    graph: Json  # the manifest's account of the exported graph; empty when it has none


LAST_VERSION = 2**31 - 1  # as the database can hold it


def version_number(text: str) -> int | None:
    """The version that text names; None when no version can have such a number."""
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(LAST_VERSION)):
        return None
    return number if 1 <= (number := int(text)) <= LAST_VERSION else None


class Wanted(NamedTuple):
    """How a request names a version."""

    model: str
    version: int | None
    alias: str | None


class Chosen(NamedTuple):
    """The version that answers one call, and the one that computes the same call unseen."""

    route: Route
    shadow: Route | None


class _Known(NamedTuple):
    """What a name stands for, as the database had it at `at`."""

    at: float
    targets: tuple[Chosen, ...]
    bounds: tuple[float, ...]  # where, on the way from 0 to 1, the next target begins


class Catalog:
    """Resolves names without the database on the way of each call; an outage leaves the last answer.

    It belongs to one event loop: only `_resolve` runs in threads, and that changes nothing.
    """

    def __init__(
        self, readers: Sessions, storage: Storage, draw: Callable[[], float] = random.random
    ) -> None:
        self._readers = readers
        self._storage = storage
        self._draw = draw  # uniform in [0, 1)
        self._known: OrderedDict[Wanted, _Known] = OrderedDict()
        self._looking: dict[Wanted, asyncio.Task[_Known]] = {}  # one look for all who ask meanwhile
        self._manifests: OrderedDict[str, tuple[Json, Json]] = OrderedDict()
        self._moves = 0  # how often names were forgotten

    async def choose(self, wanted: Wanted) -> Chosen:
        """The version to answer this call with, by the weights of its alias; raises `NotFound`."""
        known = self._known.get(wanted)
        age = inf if known is None else time.monotonic() - known.at
        if known is None or age >= FRESH:
            known = await self._look(wanted, known)
        elif age >= AHEAD and wanted not in self._looking:
            self._start(wanted)  # nobody waits for it
        return known.targets[bisect(known.bounds, self._draw()) if known.bounds else 0]

    def forget(self, model: str) -> None:
        """Look a model's names up again: an alias was moved, or a version deleted."""
        self._moves += 1
        for wanted in [key for key in (*self._known, *self._looking) if key.model == model]:
            self._known.pop(wanted, None)
            self._looking.pop(wanted, None)

    def forget_all(self) -> None:
        """Look every name up again: moves may have been missed. What was known still outlives an outage."""
        self._moves += 1
        self._looking.clear()
        for wanted, known in self._known.items():
            self._known[wanted] = known._replace(at=float("-inf"))

    async def _look(self, wanted: Wanted, last: _Known | None) -> _Known:
        looking = self._looking.get(wanted) or self._start(wanted)
        try:
            async with asyncio.timeout(None if last is None else PATIENCE):
                return await asyncio.shield(looking)  # others may wait on when this caller goes away
        except (SQLAlchemyError, TimeoutError):
            if last is None:
                raise
            if self._known.get(wanted) is last:
                self._known[wanted] = last._replace(at=time.monotonic())
            return last

    def _start(self, wanted: Wanted) -> "asyncio.Task[_Known]":
        looking = self._looking[wanted] = asyncio.create_task(self._fetch(wanted))
        looking.add_done_callback(partial(self._looked, wanted))
        return looking

    def _looked(self, wanted: Wanted, looking: "asyncio.Task[_Known]") -> None:
        if self._looking.get(wanted) is looking:
            del self._looking[wanted]
        if not looking.cancelled():
            looking.exception()  # nobody may be left to hear of it

    async def _fetch(self, wanted: Wanted) -> _Known:
        moves, now = self._moves, time.monotonic()
        try:
            targets, bounds = await asyncio.to_thread(self._resolve, wanted)
        except AppError:
            self._known.pop(wanted, None)
            raise
        known = _Known(now, targets, bounds)
        for route in (route for chosen in targets for route in chosen if route is not None):
            _keep(self._manifests, route.artifact, (route.state, route.graph), MANIFESTS)
        if moves == self._moves:  # else it may have been read before the move
            _keep(self._known, wanted, known, NAMES)
        return known

    def _resolve(self, wanted: Wanted) -> tuple[tuple[Chosen, ...], tuple[float, ...]]:
        with self._readers() as session:
            found = aliases.targets(session, *wanted)
        shadow = None
        if found.shadow is not None:
            try:
                shadow = self._route(found.shadow)
            except AppError as error:  # nobody who is answered shall suffer from it
                log.warning("the shadow of %s cannot compute: %s", wanted.model, error)
        chosen = tuple(Chosen(self._route(row), shadow) for row, _ in found.answering)
        return chosen, tuple(accumulate(share for _, share in found.answering))[:-1]

    def _route(self, row: ModelVersion) -> Route:
        task = TASKS.get(row.task)
        if task is None:
            raise NotFound(f"The model {row.model} is for {row.task}, a task this server does not have")
        state, graph = self._manifests.get(row.artifact) or self._manifest(row.artifact)
        return Route(row.model, row.version, task, row.artifact, state, graph)

    def _manifest(self, artifact: str) -> tuple[Json, Json]:
        manifest = orjson.loads(b"".join(self._storage.read(f"{artifact}/manifest.json")))
        graph = manifest.get("onnx", {})
        model = manifest.get("model")
        return manifest["state"], graph | _reads(model) if graph and model else graph


def _reads(model: Json) -> Json:
    """What kind of output a graph has, and of how many each column of its inputs is a number."""
    characters = [model.get("character_vocabulary", 0)] * model.get("word_length", 0)
    return {"output": model["output"], "vocabularies": [*model.get("vocabularies", []), *characters]}


def _keep(entries: "OrderedDict[Any, Any]", key: object, value: object, bound: int) -> None:
    entries[key] = value
    entries.move_to_end(key)
    while len(entries) > bound:
        entries.popitem(last=False)
