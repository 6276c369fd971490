"""The catalog of versions: what it believes, for how long, whom it picks, and what it never shows."""

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
from app.errors import NotFound
from app.infrastructure.storage import Storage
from app.services.jobs import leases
from app.services.models import aliases
from app.services.models import versions as models
from app.services.models.aliases import Pointing
from app.services.models.versions import Outcome
from app.services.serving import version_router
from app.services.serving.version_router import AHEAD, FRESH, Catalog, Chosen, Route, Wanted
from app.tasks import TASKS
from tests.app.services.jobs.test_leases import claimed, submit
from tests.lanes import eventually

PRODUCTION = Wanted("m", None, None)
GRAPH = {"features": 3, "width": 4}


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Readers:
    """Sessions that are counted, can be away, and can be held up."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.asked = 0
        self.away = False
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> Session:
        self.asked += 1
        assert self.go.wait(20)
        if self.away:
            raise OperationalError("select", {}, Exception("no route to host"))
        return self.sessions()


class House:
    """A catalog over a real database and store, with three versions of the model `m`."""

    def __init__(self, sessions: Sessions, storage: Storage, directory: Path) -> None:
        self.sessions, self.storage, self.directory = sessions, storage, directory
        self.readers = Readers(sessions)
        self.draw: Callable[[], float] = np.random.default_rng(7).random
        self.catalog = Catalog(self.readers, storage, self._draw)  # type: ignore[arg-type]
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
        with self.sessions.begin() as session:
            assert leases.succeed(session, lease, Outcome(f"artifacts/{number}", 1, 1, "0", {}, {})) == number

    def choose(self, wanted: Wanted = PRODUCTION) -> Chosen:
        return asyncio.run(self.catalog.choose(wanted))

    def route(self, wanted: Wanted = PRODUCTION) -> Route:
        return self.choose(wanted).route

    def draws(self, count: int) -> Counter[int]:
        async def scenario() -> Counter[int]:
            return Counter([(await self.catalog.choose(PRODUCTION)).route.version for _ in range(count)])

        return asyncio.run(scenario())

    def move(self, *versions: int, shadow: int | None = None, **shares: float) -> None:
        """Another process moves the alias."""
        pointed = dict.fromkeys(versions, 1.0) or {int(k[1:]): v for k, v in shares.items()}
        with self.sessions.begin() as session:
            aliases.move(session, "m", "production", Pointing(pointed, shadow, dict.fromkeys(pointed, "")))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(version_router, "time", SimpleNamespace(monotonic=made))
    return made


@pytest.fixture
def house(sessions: Sessions, storage: Storage, tmp_path: Path) -> House:
    return House(sessions, storage, tmp_path)


def test_a_graph_that_reads_tokens_tells_of_how_many() -> None:
    plain = {"output": "quantiles", "vocabularies": [], "word_length": 0, "character_vocabulary": 0}
    assert version_router._reads(plain) == {"output": "quantiles", "vocabularies": []}
    words = {"output": "labels", "vocabularies": [900, 5], "word_length": 3, "character_vocabulary": 40}
    assert version_router._reads(words) == {"output": "labels", "vocabularies": [900, 5, 40, 40, 40]}
    assert version_router._reads({"output": "quantiles"}) == {"output": "quantiles", "vocabularies": []}


def test_a_route_has_all_that_a_prediction_needs(house: House) -> None:
    route = house.route()
    assert (route.model, route.version, route.artifact) == ("m", 1, "artifacts/1")
    assert (route.task, route.state, route.graph) == (TASKS["forecasting"], {"number": 1}, GRAPH)
    second = house.route(Wanted("m", 2, None))
    assert (second.state, second.graph) == ({"number": 2}, {})  # whose manifest tells nothing of a graph


def test_a_name_is_looked_up_once_while_it_is_fresh(house: House, clock: Clock) -> None:
    for _ in range(5):
        assert house.route().version == 1
        clock.now += AHEAD / 5.1
    assert house.readers.asked == 1
    clock.now += FRESH
    house.route()
    assert house.readers.asked == 2


def test_a_name_in_use_is_looked_up_ahead_and_nobody_waits_for_it(house: House, clock: Clock) -> None:
    async def scenario() -> None:
        assert (await house.catalog.choose(PRODUCTION)).route.version == 1
        house.move(2)
        clock.now += AHEAD
        for _ in range(3):
            with pytest.raises(StopIteration) as ended:
                house.catalog.choose(PRODUCTION).send(None)
            assert ended.value.value.route.version == 1
        await eventually(lambda: not house.catalog._looking)
        assert house.readers.asked == 2
        clock.now += AHEAD / 2
        assert (await house.catalog.choose(PRODUCTION)).route.version == 2
        assert house.readers.asked == 2

    asyncio.run(scenario())


def test_an_outage_while_looking_ahead_is_nobodys_error(house: House, clock: Clock) -> None:
    async def scenario() -> None:
        await house.catalog.choose(PRODUCTION)
        house.readers.away = True
        clock.now += AHEAD
        assert (await house.catalog.choose(PRODUCTION)).route.version == 1
        await eventually(lambda: not house.catalog._looking)
        assert (await house.catalog.choose(PRODUCTION)).route.version == 1

    asyncio.run(scenario())


def test_a_fresh_name_is_answered_without_a_thread_or_a_turn_of_the_loop(house: House, clock: Clock) -> None:
    house.move(v1=0.5, v2=0.5)
    house.route()
    with pytest.raises(StopIteration) as ended:
        house.catalog.choose(PRODUCTION).send(None)
    assert ended.value.value.route.version in (1, 2)


def test_a_move_by_another_process_is_seen_within_its_second(house: House, clock: Clock) -> None:
    assert house.route().version == 1
    house.move(2)
    clock.now += FRESH - 0.01
    assert house.route().version == 1
    clock.now += 0.02
    assert house.route().version == 2


def test_a_move_that_is_told_is_seen_at_once(house: House, clock: Clock) -> None:
    assert house.route().version == 1
    house.move(2)
    house.catalog.forget("m")
    assert house.route().version == 2
    house.move(3)
    house.catalog.forget_all()
    assert house.route().version == 3


def test_forgetting_one_model_keeps_the_others(house: House, clock: Clock) -> None:
    house.route()
    house.catalog.forget("other")
    house.route()
    assert house.readers.asked == 1


# Shares and shadows


def test_calls_are_shared_out_by_weight(house: House, clock: Clock) -> None:
    house.move(v1=0.7, v2=0.25, v3=0.05)
    found = house.draws(20_000)
    assert house.readers.asked == 1
    for version, share in ((1, 0.7), (2, 0.25), (3, 0.05)):
        deviation = (20_000 * share * (1 - share)) ** 0.5
        assert abs(found[version] - 20_000 * share) < 4 * deviation, found


def test_the_same_draws_give_the_same_versions(house: House, clock: Clock) -> None:
    house.move(v1=0.5, v3=0.25, v2=0.25)
    found = []
    for _ in range(2):
        house.draw = np.random.default_rng(11).random
        found.append([house.route().version for _ in range(50)])
    assert found[0] == found[1]
    assert set(found[0]) == {1, 2, 3}


@pytest.mark.parametrize(
    ("drawn", "version"),
    [(0.0, 1), (0.4999, 1), (0.5, 2), (0.7499, 2), (0.75, 3), (1 - 2**-53, 3)],
)
def test_each_share_is_a_part_of_the_way_from_0_to_1(
    house: House, clock: Clock, drawn: float, version: int
) -> None:
    house.move(v1=0.5, v2=0.25, v3=0.25 - 1e-7)  # as far from 1 as a request may be
    house.draw = lambda: drawn
    assert house.route().version == version


def test_a_version_alone_is_not_drawn(house: House, clock: Clock) -> None:
    house.draw = lambda: 1 / 0
    assert house.route().version == 1
    assert house.route(Wanted("m", 3, None)).version == 3


def test_every_answering_version_has_the_same_shadow(house: House, clock: Clock) -> None:
    house.move(v1=0.5, v2=0.5, shadow=3)
    drawn = cycle([0.1, 0.9])
    house.draw = lambda: next(drawn)
    both = [house.choose() for _ in range(2)]
    assert [chosen.route.version for chosen in both] == [1, 2]
    assert [chosen.shadow and chosen.shadow.artifact for chosen in both] == ["artifacts/3"] * 2


def test_a_version_named_by_number_has_no_shadow(house: House, clock: Clock) -> None:
    house.move(1, shadow=2)
    assert house.choose().shadow is not None
    assert house.choose(Wanted("m", None, "production")).shadow is not None
    assert house.choose(Wanted("m", 1, None)).shadow is None


def test_a_shadow_whose_files_are_lost_harms_nobody(
    house: House, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    house.move(1, shadow=3)
    house.storage.delete("artifacts/3")
    chosen = house.choose()
    assert (chosen.route.version, chosen.shadow) == (1, None)
    assert "the shadow of m cannot compute" in caplog.text


def test_a_version_that_went_between_two_queries_is_looked_for_anew(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = aliases._versions

    def overtaken(session: Session, name: str, numbers: Any) -> dict[int, ModelVersion]:
        monkeypatch.undo()
        monkeypatch.setattr(version_router, "time", SimpleNamespace(monotonic=clock))
        session.rollback()  # as PostgreSQL reads: each query sees what was committed before it
        house.move(2)
        with house.sessions.begin() as other:
            models.remove_version(other, "m", 1)
        return look(session, name, numbers)

    monkeypatch.setattr(aliases, "_versions", overtaken)
    assert house.route().version == 2


# Moves that overtake a look


def test_a_look_up_that_a_move_overtook_is_not_believed(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = house.catalog._resolve

    def overtaken(wanted: Wanted) -> Any:
        found = resolve(wanted)
        house.move(2)
        house.catalog.forget("m")
        return found

    monkeypatch.setattr(house.catalog, "_resolve", overtaken)
    assert house.route().version == 1  # it was asked before the move
    monkeypatch.setattr(house.catalog, "_resolve", resolve)
    assert house.route().version == 2


@pytest.mark.parametrize("everything", [False, True])
def test_who_asks_after_a_move_does_not_join_a_look_from_before_it(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    resolve, read, go = house.catalog._resolve, threading.Event(), threading.Event()

    def held(wanted: Wanted) -> Any:
        found = resolve(wanted)
        if not read.is_set():
            read.set()
            assert go.wait(20)
        return found

    async def scenario() -> list[int]:
        early = asyncio.create_task(house.catalog.choose(PRODUCTION))
        await asyncio.to_thread(read.wait, 20)
        await asyncio.to_thread(house.move, 2)
        house.catalog.forget_all() if everything else house.catalog.forget("m")
        late = await house.catalog.choose(PRODUCTION)
        go.set()
        again = [await early, await house.catalog.choose(PRODUCTION)]
        return [chosen.route.version for chosen in (late, *again)]

    monkeypatch.setattr(house.catalog, "_resolve", held)
    assert asyncio.run(scenario()) == [2, 1, 2]


def test_a_slow_look_up_does_not_stretch_the_second(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = house.catalog._resolve

    def slow(wanted: Wanted) -> Any:
        found = resolve(wanted)
        clock.now += 0.8
        return found

    monkeypatch.setattr(house.catalog, "_resolve", slow)
    house.route()
    monkeypatch.setattr(house.catalog, "_resolve", resolve)
    house.move(2)
    clock.now += FRESH - 0.8 + 0.01
    assert house.route().version == 2


def together(house: House, count: int, act: Callable[[list[asyncio.Task[Chosen]]], Awaitable[None]]) -> Any:
    """What so many callers get who ask while the database holds its answer back, until `act` was done."""

    async def scenario() -> list[Any]:
        house.readers.go.clear()
        callers = [asyncio.create_task(house.catalog.choose(PRODUCTION)) for _ in range(count)]
        await asyncio.sleep(0)
        await act(callers)
        house.readers.go.set()
        return await asyncio.gather(*callers, return_exceptions=True)

    return asyncio.run(scenario())


async def nothing(callers: list[asyncio.Task[Chosen]]) -> None:
    """Let them wait."""


def test_callers_at_once_share_one_look(house: House, clock: Clock) -> None:
    found = together(house, 50, nothing)
    assert ({chosen.route.version for chosen in found}, house.readers.asked) == ({1}, 1)


def test_a_caller_who_leaves_takes_nobody_along(house: House, clock: Clock) -> None:
    async def leave(callers: list[asyncio.Task[Chosen]]) -> None:
        callers[0].cancel()
        await asyncio.sleep(0)

    gone, *found = together(house, 3, leave)
    assert isinstance(gone, asyncio.CancelledError)
    assert ([chosen.route.version for chosen in found], house.readers.asked) == ([1, 1], 1)


def test_a_failed_look_fails_all_who_waited_and_nobody_later(house: House, clock: Clock) -> None:
    house.readers.away = True
    assert {type(error) for error in together(house, 3, nothing)} == {OperationalError}
    house.readers.away = False
    assert house.route().version == 1


# Outages


def test_without_the_database_the_last_answer_stands(house: House, clock: Clock) -> None:
    assert house.route().version == 1
    house.readers.away = True
    for _ in range(3):
        clock.now += 60
        assert house.route().version == 1
    with pytest.raises(OperationalError):
        house.route(Wanted("m", 2, None))
    house.readers.away = False
    house.move(2)
    clock.now += FRESH + 0.01
    assert house.route().version == 2


def test_a_database_that_is_away_is_asked_once_a_second(house: House, clock: Clock) -> None:
    house.route()
    house.readers.away = True
    clock.now += 60
    for _ in range(10):
        house.route()
    assert house.readers.asked == 2


def test_what_may_have_moved_outlives_an_outage_but_not_what_has(house: House, clock: Clock) -> None:
    house.route()
    house.readers.away = True
    house.catalog.forget_all()
    assert house.route().version == 1
    house.catalog.forget("m")
    with pytest.raises(OperationalError):
        house.route()


def test_a_database_that_hangs_holds_nobody_up_for_long(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_router, "PATIENCE", 0.05)

    async def scenario() -> tuple[int, int]:
        await house.catalog.choose(PRODUCTION)
        house.readers.go.clear()
        await asyncio.to_thread(house.move, 2)
        clock.now += FRESH + 0.01
        before = [(await house.catalog.choose(PRODUCTION)).route.version for _ in range(3)]
        assert house.readers.asked == 2
        house.catalog.forget("m")
        late = asyncio.create_task(house.catalog.choose(PRODUCTION))
        assert await asyncio.wait({late}, timeout=0.2) == (set(), {late})  # what has moved is waited for
        house.readers.go.set()
        assert set(before) == {1}
        return before[0], (await late).route.version

    assert asyncio.run(scenario()) == (1, 2)


def test_what_is_gone_is_not_answered_from_memory(house: House, clock: Clock) -> None:
    wanted = Wanted("m", 2, None)
    house.route(wanted)
    with house.sessions.begin() as session:
        models.remove_version(session, "m", 2)
    clock.now += FRESH + 0.01
    for _ in range(2):
        with pytest.raises(NotFound, match="no version 2"):
            house.route(wanted)
    house.readers.away = True
    with pytest.raises(OperationalError):  # nothing stale is left to answer with
        house.route(wanted)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (Wanted("none", None, None), "no model none"),
        (Wanted("none", 1, None), "no model none"),
        (Wanted("m", 4, None), "no version 4"),
        (Wanted("m", None, "canary"), "no alias canary"),
    ],
)
def test_what_is_not_there_is_not_found(house: House, wanted: Wanted, text: str) -> None:
    with pytest.raises(NotFound, match=text):
        house.route(wanted)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_version_whose_files_are_lost_is_not_found(house: House, lost: int) -> None:
    house.move(v1=0.5, v2=0.5)
    house.storage.delete(f"artifacts/{lost}")
    with pytest.raises(NotFound):
        house.route()


def test_a_version_of_a_task_that_is_gone_is_no_crash_of_others(house: House) -> None:
    with house.sessions.begin() as session:
        session.execute(update(ModelVersion).where(ModelVersion.version == 2).values(task="knitting"))
    assert house.route().version == 1
    with pytest.raises(NotFound, match="knitting"):
        house.route(Wanted("m", 2, None))


# Memory


def test_a_manifest_is_read_once_for_all_names_of_a_version(house: House, clock: Clock) -> None:
    house.move(1, shadow=2)
    house.route()
    for number in (1, 2):
        house.storage.delete(f"artifacts/{number}")
    assert house.route(Wanted("m", 1, None)).state == {"number": 1}
    assert house.route(Wanted("m", 1, None)).graph == GRAPH
    assert house.route(Wanted("m", 2, None)).state == {"number": 2}


def test_memory_is_bounded_and_the_oldest_goes_first(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_router, "NAMES", 2)
    monkeypatch.setattr(version_router, "MANIFESTS", 1)
    for wanted in (PRODUCTION, Wanted("m", 2, None), Wanted("m", 1, None)):
        house.route(wanted)
    assert list(house.catalog._known) == [Wanted("m", 2, None), Wanted("m", 1, None)]
    assert len(house.catalog._manifests) == 1
    house.route(Wanted("m", 2, None))
    assert house.readers.asked == 3
    assert house.catalog._looking == {}
