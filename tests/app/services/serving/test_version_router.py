"""The version router: what it caches and for how long, which version it draws, and outages."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import ModelVersion
from app.errors import ModelDamaged, NotFound
from app.infrastructure import artifacts
from app.infrastructure.artifacts import digest_stored
from app.infrastructure.storage import Storage
from app.services import lookup_cache
from app.services.jobs import leases
from app.services.lookup_cache import MAX_AGE_SECONDS, REFRESH_AGE_SECONDS
from app.services.models import aliases
from app.services.models import versions as models
from app.services.models.aliases import AliasTarget
from app.services.models.versions import TrainingOutcome
from app.services.serving import version_router
from app.services.serving.version_router import (
    ResolvedRoute,
    Route,
    VersionRouter,
    VersionSelector,
)
from app.tasks import TASKS
from tests.app.services.jobs.test_leases import claimed, submit
from tests.support.fakes.lanes import wait_until

PRODUCTION = VersionSelector("m", None, None)
GRAPH = {"features": 3, "width": 4}


class Clock:
    """Time that only passes when a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Readers:
    """Sessions that are counted, can be away, and can be held up."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.opened = 0
        self.away = False
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> Session:
        self.opened += 1
        assert self.go.wait(20)
        if self.away:
            raise OperationalError("select", {}, Exception("no route to host"))
        return self.sessions()


class Backend:
    """A version router over a real database and store, with three versions of the model `m`."""

    def __init__(self, sessions: Sessions, storage: Storage, directory: Path) -> None:
        self.sessions, self.storage, self.directory = sessions, storage, directory
        self.readers = Readers(sessions)
        self.draw: Callable[[], float] = np.random.default_rng(7).random
        self.router = VersionRouter(self.readers, storage, self._draw)  # type: ignore[arg-type]
        for number in (1, 2, 3):
            self.publish(number)

    def _draw(self) -> float:
        return self.draw()

    def publish(self, number: int) -> None:
        with self.sessions.begin() as session:
            job_id = submit(session)
        manifest = {"state": {"number": number}} | ({"onnx": GRAPH} if number == 1 else {})
        (self.directory / "manifest.json").write_text(json.dumps(manifest))
        self.storage.put(f"artifacts/{number}/manifest.json", self.directory / "manifest.json")
        lease = claimed(self.sessions, job_id)
        prefix = f"artifacts/{number}"
        outcome = TrainingOutcome(prefix, 1, 1, digest_stored(self.storage, prefix), {}, {})
        with self.sessions.begin() as session:
            assert leases.succeed(session, lease, outcome) == number

    def alter(self, number: int) -> None:
        (self.directory / "manifest.json").write_text(json.dumps({"state": {"number": -number}}))
        self.storage.put(f"artifacts/{number}/manifest.json", self.directory / "manifest.json")

    def choose(self, selector: VersionSelector = PRODUCTION) -> ResolvedRoute:
        return asyncio.run(self.router.choose(selector))

    def route(self, selector: VersionSelector = PRODUCTION) -> Route:
        return self.choose(selector).route

    def draws(self, count: int) -> Counter[int]:
        async def scenario() -> Counter[int]:
            return Counter([(await self.router.choose(PRODUCTION)).route.version for _ in range(count)])

        return asyncio.run(scenario())

    def move(self, *versions: int, shadow: int | None = None, **shares: float) -> None:
        """Another process moves the alias."""
        pointed = dict.fromkeys(versions, 1.0) or {int(k[1:]): v for k, v in shares.items()}
        with self.sessions.begin() as session:
            aliases.move(session, "m", "production", AliasTarget(pointed, shadow, dict.fromkeys(pointed, "")))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lookup_cache, "time", SimpleNamespace(monotonic=made))
    return made


@pytest.fixture
def backend(sessions: Sessions, storage: Storage, tmp_path: Path) -> Backend:
    return Backend(sessions, storage, tmp_path)


def test_a_graph_that_reads_tokens_tells_of_how_many() -> None:
    facts = version_router._network_facts
    plain = {"output": "quantiles", "vocabularies": [], "word_length": 0, "character_vocabulary": 0}
    assert facts(plain) == {"output": "quantiles", "vocabularies": [], "causal": True}
    words = {"output": "labels", "vocabularies": [900, 5], "word_length": 3, "character_vocabulary": 40}
    assert facts(words) == {"output": "labels", "vocabularies": [900, 5, 40, 40, 40], "causal": True}
    assert facts({"output": "quantiles"}) == {
        "output": "quantiles",
        "vocabularies": [],
        "causal": True,
    }
    assert not facts({"output": "label", "bidirectional": True})["causal"]


def test_a_route_has_all_that_a_prediction_needs(backend: Backend) -> None:
    route = backend.route()
    sha256 = digest_stored(backend.storage, "artifacts/1")
    assert (route.model, route.version, route.artifact) == ("m", 1, f"artifacts/1@{sha256}")
    assert (route.task, route.state, route.graph) == (TASKS["forecasting"], {"number": 1}, GRAPH)
    second = backend.route(VersionSelector("m", 2, None))
    assert (second.state, second.graph) == ({"number": 2}, {})  # whose manifest has no graph


def test_a_selector_is_looked_up_once_while_its_resolution_is_fresh(backend: Backend, clock: Clock) -> None:
    for _ in range(5):
        assert backend.route().version == 1
        clock.now += REFRESH_AGE_SECONDS / 5.1
    assert backend.readers.opened == 1
    clock.now += MAX_AGE_SECONDS
    backend.route()
    assert backend.readers.opened == 2


def test_a_selector_in_use_is_looked_up_ahead_and_nobody_waits_for_it(backend: Backend, clock: Clock) -> None:
    async def scenario() -> None:
        assert (await backend.router.choose(PRODUCTION)).route.version == 1
        backend.move(2)
        clock.now += REFRESH_AGE_SECONDS
        for _ in range(3):
            with pytest.raises(StopIteration) as ended:
                backend.router.choose(PRODUCTION).send(None)
            assert ended.value.value.route.version == 1
        await wait_until(lambda: not backend.router._cache.lookups)
        assert backend.readers.opened == 2
        clock.now += REFRESH_AGE_SECONDS / 2
        assert (await backend.router.choose(PRODUCTION)).route.version == 2
        assert backend.readers.opened == 2

    asyncio.run(scenario())


def test_an_outage_while_looking_ahead_is_nobodys_error(backend: Backend, clock: Clock) -> None:
    async def scenario() -> None:
        await backend.router.choose(PRODUCTION)
        backend.readers.away = True
        clock.now += REFRESH_AGE_SECONDS
        assert (await backend.router.choose(PRODUCTION)).route.version == 1
        await wait_until(lambda: not backend.router._cache.lookups)
        assert (await backend.router.choose(PRODUCTION)).route.version == 1

    asyncio.run(scenario())


def test_a_fresh_resolution_needs_no_thread_and_no_turn_of_the_loop(backend: Backend, clock: Clock) -> None:
    backend.move(v1=0.5, v2=0.5)
    backend.route()
    with pytest.raises(StopIteration) as ended:
        backend.router.choose(PRODUCTION).send(None)
    assert ended.value.value.route.version in (1, 2)


def test_a_move_by_another_process_takes_effect_within_a_second(backend: Backend, clock: Clock) -> None:
    assert backend.route().version == 1
    backend.move(2)
    clock.now += MAX_AGE_SECONDS - 0.01
    assert backend.route().version == 1
    clock.now += 0.02
    assert backend.route().version == 2


def test_a_move_with_a_notice_takes_effect_at_once(backend: Backend, clock: Clock) -> None:
    assert backend.route().version == 1
    backend.move(2)
    backend.router.invalidate("m")
    assert backend.route().version == 2
    backend.move(3)
    backend.router.invalidate_all()
    assert backend.route().version == 3


def test_invalidating_one_model_keeps_the_others(backend: Backend, clock: Clock) -> None:
    backend.route()
    backend.router.invalidate("other")
    backend.route()
    assert backend.readers.opened == 1


# Shares and shadows


def test_calls_are_shared_out_by_weight(backend: Backend, clock: Clock) -> None:
    backend.move(v1=0.7, v2=0.25, v3=0.05)
    counts = backend.draws(20_000)
    assert backend.readers.opened == 1
    for version, share in ((1, 0.7), (2, 0.25), (3, 0.05)):
        deviation = (20_000 * share * (1 - share)) ** 0.5
        assert abs(counts[version] - 20_000 * share) < 4 * deviation, counts


def test_the_same_draws_give_the_same_versions(backend: Backend, clock: Clock) -> None:
    backend.move(v1=0.5, v3=0.25, v2=0.25)
    versions = []
    for _ in range(2):
        backend.draw = np.random.default_rng(11).random
        versions.append([backend.route().version for _ in range(50)])
    assert versions[0] == versions[1]
    assert set(versions[0]) == {1, 2, 3}


@pytest.mark.parametrize(
    ("drawn", "version"),
    [(0.0, 1), (0.4999, 1), (0.5, 2), (0.7499, 2), (0.75, 3), (1 - 2**-53, 3)],
)
def test_each_share_is_a_part_of_the_way_from_0_to_1(
    backend: Backend, clock: Clock, drawn: float, version: int
) -> None:
    backend.move(v1=0.5, v2=0.25, v3=0.25 - 1e-7)  # as far from 1 as a request may be
    backend.draw = lambda: drawn
    assert backend.route().version == version


def test_a_version_alone_is_not_drawn(backend: Backend, clock: Clock) -> None:
    backend.draw = lambda: 1 / 0
    assert backend.route().version == 1
    assert backend.route(VersionSelector("m", 3, None)).version == 3


def test_every_answering_version_has_the_same_shadow(backend: Backend, clock: Clock) -> None:
    backend.move(v1=0.5, v2=0.5, shadow=3)
    drawn = cycle([0.1, 0.9])
    backend.draw = lambda: next(drawn)
    both = [backend.choose() for _ in range(2)]
    assert [one.route.version for one in both] == [1, 2]
    assert [one.shadow and one.shadow.version for one in both] == [3, 3]


def test_a_version_named_by_number_has_no_shadow(backend: Backend, clock: Clock) -> None:
    backend.move(1, shadow=2)
    assert backend.choose().shadow is not None
    assert backend.choose(VersionSelector("m", None, "production")).shadow is not None
    assert backend.choose(VersionSelector("m", 1, None)).shadow is None


def test_a_shadow_whose_files_are_lost_harms_nobody(
    backend: Backend, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    backend.move(1, shadow=3)
    backend.storage.delete("artifacts/3")
    resolved = backend.choose()
    assert (resolved.route.version, resolved.shadow) == (1, None)
    assert "The shadow of m cannot compute" in caplog.text


def test_a_version_that_went_between_two_queries_is_looked_for_anew(
    backend: Backend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = aliases._load_versions

    def overtaken(session: Session, name: str, numbers: Any) -> dict[int, ModelVersion]:
        monkeypatch.undo()
        monkeypatch.setattr(lookup_cache, "time", SimpleNamespace(monotonic=clock))
        session.rollback()  # as PostgreSQL reads: each query sees what was committed before it
        backend.move(2)
        with backend.sessions.begin() as other:
            models.remove_version(other, "m", 1)
        return query(session, name, numbers)

    monkeypatch.setattr(aliases, "_load_versions", overtaken)
    assert backend.route().version == 2


# Moves that overtake a look-up


def test_a_look_up_that_a_move_overtook_is_not_cached(
    backend: Backend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = backend.router._resolve

    def overtaken(selector: VersionSelector) -> Any:
        targets = resolve(selector)
        backend.move(2)
        backend.router.invalidate("m")
        return targets

    monkeypatch.setattr(backend.router, "_resolve", overtaken)
    assert backend.route().version == 1  # it was looked up before the move
    monkeypatch.setattr(backend.router, "_resolve", resolve)
    assert backend.route().version == 2


@pytest.mark.parametrize("everything", [False, True])
def test_who_asks_after_a_move_does_not_join_a_look_from_before_it(
    backend: Backend, clock: Clock, monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    resolve, read, go = backend.router._resolve, threading.Event(), threading.Event()

    def held(selector: VersionSelector) -> Any:
        targets = resolve(selector)
        if not read.is_set():
            read.set()
            assert go.wait(20)
        return targets

    async def scenario() -> list[int]:
        early = asyncio.create_task(backend.router.choose(PRODUCTION))
        await asyncio.to_thread(read.wait, 20)
        await asyncio.to_thread(backend.move, 2)
        backend.router.invalidate_all() if everything else backend.router.invalidate("m")
        late = await backend.router.choose(PRODUCTION)
        go.set()
        again = [await early, await backend.router.choose(PRODUCTION)]
        return [one.route.version for one in (late, *again)]

    monkeypatch.setattr(backend.router, "_resolve", held)
    assert asyncio.run(scenario()) == [2, 1, 2]


def test_a_slow_look_up_does_not_prolong_the_second(
    backend: Backend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = backend.router._resolve

    def slow(selector: VersionSelector) -> Any:
        targets = resolve(selector)
        clock.now += 0.8
        return targets

    monkeypatch.setattr(backend.router, "_resolve", slow)
    backend.route()
    monkeypatch.setattr(backend.router, "_resolve", resolve)
    backend.move(2)
    clock.now += MAX_AGE_SECONDS - 0.8 + 0.01
    assert backend.route().version == 2


Callers = list[asyncio.Task[ResolvedRoute]]


def together(backend: Backend, count: int, act: Callable[[Callers], Awaitable[None]]) -> Any:
    """What `count` callers get that wait for the database at once; it answers after `act`."""

    async def scenario() -> list[Any]:
        backend.readers.go.clear()
        callers = [asyncio.create_task(backend.router.choose(PRODUCTION)) for _ in range(count)]
        await asyncio.sleep(0)
        await act(callers)
        backend.readers.go.set()
        return await asyncio.gather(*callers, return_exceptions=True)

    return asyncio.run(scenario())


async def nothing(callers: Callers) -> None:
    """Let them wait."""


def test_callers_at_once_share_one_look(backend: Backend, clock: Clock) -> None:
    resolved = together(backend, 50, nothing)
    assert ({one.route.version for one in resolved}, backend.readers.opened) == ({1}, 1)


def test_a_caller_who_leaves_takes_nobody_along(backend: Backend, clock: Clock) -> None:
    async def leave(callers: Callers) -> None:
        callers[0].cancel()
        await asyncio.sleep(0)

    gone, *resolved = together(backend, 3, leave)
    assert isinstance(gone, asyncio.CancelledError)
    assert ([one.route.version for one in resolved], backend.readers.opened) == ([1, 1], 1)


def test_a_failed_look_fails_all_who_waited_and_nobody_later(backend: Backend, clock: Clock) -> None:
    backend.readers.away = True
    assert {type(error) for error in together(backend, 3, nothing)} == {OperationalError}
    backend.readers.away = False
    assert backend.route().version == 1


# Outages


def test_without_the_database_the_last_answer_stands(backend: Backend, clock: Clock) -> None:
    assert backend.route().version == 1
    backend.readers.away = True
    for _ in range(3):
        clock.now += 60
        assert backend.route().version == 1
    with pytest.raises(OperationalError):
        backend.route(VersionSelector("m", 2, None))
    backend.readers.away = False
    backend.move(2)
    clock.now += MAX_AGE_SECONDS + 0.01
    assert backend.route().version == 2


def test_a_database_that_is_away_is_asked_once_a_second(backend: Backend, clock: Clock) -> None:
    backend.route()
    backend.readers.away = True
    clock.now += 60
    for _ in range(10):
        backend.route()
    assert backend.readers.opened == 2


def test_what_may_have_moved_outlives_an_outage_but_not_what_has(backend: Backend, clock: Clock) -> None:
    backend.route()
    backend.readers.away = True
    backend.router.invalidate_all()
    assert backend.route().version == 1
    backend.router.invalidate("m")
    with pytest.raises(OperationalError):
        backend.route()


def test_a_database_that_hangs_holds_nobody_up_for_long(
    backend: Backend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup_cache, "LOOKUP_TIMEOUT_SECONDS", 0.05)

    async def scenario() -> tuple[int, int]:
        await backend.router.choose(PRODUCTION)
        backend.readers.go.clear()
        await asyncio.to_thread(backend.move, 2)
        clock.now += MAX_AGE_SECONDS + 0.01
        before = [(await backend.router.choose(PRODUCTION)).route.version for _ in range(3)]
        assert backend.readers.opened == 2
        backend.router.invalidate("m")
        late = asyncio.create_task(backend.router.choose(PRODUCTION))
        assert await asyncio.wait({late}, timeout=0.2) == (set(), {late})  # what has moved is waited for
        backend.readers.go.set()
        assert set(before) == {1}
        return before[0], (await late).route.version

    assert asyncio.run(scenario()) == (1, 2)


def test_what_is_gone_is_not_answered_from_memory(backend: Backend, clock: Clock) -> None:
    selector = VersionSelector("m", 2, None)
    backend.route(selector)
    with backend.sessions.begin() as session:
        models.remove_version(session, "m", 2)
    clock.now += MAX_AGE_SECONDS + 0.01
    for _ in range(2):
        with pytest.raises(NotFound, match="no version 2"):
            backend.route(selector)
    backend.readers.away = True
    with pytest.raises(OperationalError):  # nothing stale is left to answer with
        backend.route(selector)


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (VersionSelector("none", None, None), "no model none"),
        (VersionSelector("none", 1, None), "no model none"),
        (VersionSelector("m", 4, None), "no version 4"),
        (VersionSelector("m", None, "canary"), "no alias canary"),
    ],
)
def test_what_is_not_there_is_not_found(backend: Backend, selector: VersionSelector, text: str) -> None:
    with pytest.raises(NotFound, match=text):
        backend.route(selector)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_version_whose_files_are_lost_is_not_found(backend: Backend, lost: int) -> None:
    backend.move(v1=0.5, v2=0.5)
    backend.storage.delete(f"artifacts/{lost}")
    with pytest.raises(NotFound):
        backend.route()


def test_a_version_whose_manifest_was_altered_is_not_answered(backend: Backend) -> None:
    backend.alter(1)
    with pytest.raises(ModelDamaged, match="not those that its training stored"):
        backend.route()
    assert backend.route(VersionSelector("m", 2, None)).state == {"number": 2}


def test_a_version_that_loses_its_files_and_its_row_is_not_found(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = artifacts.read_manifest

    def delete_while_reading(storage: Storage, prefix: str, sha256: str) -> bytes:
        with backend.sessions.begin() as session:
            models.remove_version(session, "m", 2)
        backend.alter(2)
        return read(storage, prefix, sha256)

    monkeypatch.setattr(artifacts, "read_manifest", delete_while_reading)
    with pytest.raises(NotFound):
        backend.route(VersionSelector("m", 2, None))


def test_a_version_of_a_task_that_is_gone_is_no_crash_of_others(backend: Backend) -> None:
    with backend.sessions.begin() as session:
        session.execute(update(ModelVersion).where(ModelVersion.version == 2).values(task="knitting"))
    assert backend.route().version == 1
    with pytest.raises(NotFound, match="knitting"):
        backend.route(VersionSelector("m", 2, None))


# Memory


def test_a_manifest_is_read_once_for_all_names_of_a_version(backend: Backend, clock: Clock) -> None:
    backend.move(1, shadow=2)
    backend.route()
    for number in (1, 2):
        backend.storage.delete(f"artifacts/{number}")
    assert backend.route(VersionSelector("m", 1, None)).state == {"number": 1}
    assert backend.route(VersionSelector("m", 1, None)).graph == GRAPH
    assert backend.route(VersionSelector("m", 2, None)).state == {"number": 2}


def test_memory_is_bounded_and_the_oldest_goes_first(
    backend: Backend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.router._cache.max_entries = 2
    monkeypatch.setattr(version_router, "MAX_MANIFESTS", 1)
    for selector in (PRODUCTION, VersionSelector("m", 2, None), VersionSelector("m", 1, None)):
        backend.route(selector)
    assert list(backend.router._cache.entries) == [
        VersionSelector("m", 2, None),
        VersionSelector("m", 1, None),
    ]
    assert len(backend.router._manifests) == 1
    backend.route(VersionSelector("m", 2, None))
    assert backend.readers.opened == 3
    assert backend.router._cache.lookups == {}
