"""The catalog of versions: what it believes, for how long, and what it never shows."""

import asyncio
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.db import Sessions
from app.errors import Invalid, NotFound, Problem
from app.lanes import Answer
from app.services import leases, models, predictions
from app.services.models import Outcome
from app.services.predictions import FRESH, INLINE, Catalog, Route, Wanted, parse, predict
from app.storage import Storage
from app.tables import ModelVersion
from app.tasks import TASKS
from app.tasks.base import Example
from tests.app.services.test_leases import claimed, submit

PRODUCTION = Wanted("m", None, None)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Readers:
    """Sessions that are counted, and can be away."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.asked = 0
        self.away = False
        self.meanwhile: Callable[[], None] = lambda: None

    def __call__(self) -> Session:
        self.asked += 1
        if self.away:
            raise OperationalError("select", {}, Exception("no route to host"))
        return self.sessions()


class House:
    """A catalog over a real database and store, with two versions of the model `m`."""

    def __init__(self, sessions: Sessions, storage: Storage, directory: Path) -> None:
        self.sessions, self.storage = sessions, storage
        self.readers = Readers(sessions)
        self.catalog = Catalog(self.readers, storage)  # type: ignore[arg-type]
        for number in (1, 2):
            self.publish(number, directory)

    def publish(self, number: int, directory: Path) -> None:
        with self.sessions.begin() as session:
            job_id = submit(session)
        (directory / "manifest.json").write_text(json.dumps({"state": {"number": number}}))
        self.storage.put(f"artifacts/{number}/manifest.json", directory / "manifest.json")
        lease = claimed(self.sessions, job_id)
        with self.sessions.begin() as session:
            assert leases.succeed(session, lease, Outcome(f"artifacts/{number}", 1, 1, "0", {}, {})) == number

    def route(self, wanted: Wanted = PRODUCTION) -> Route:
        return asyncio.run(self.catalog.route(wanted))

    def move(self, version: int) -> None:
        """Another process moves the alias."""
        with self.sessions.begin() as session:
            models.move_alias(session, "m", "production", version)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(predictions, "time", SimpleNamespace(monotonic=made))
    return made


@pytest.fixture
def house(sessions: Sessions, storage: Storage, tmp_path: Path) -> House:
    return House(sessions, storage, tmp_path)


def test_a_route_has_all_that_a_prediction_needs(house: House) -> None:
    route = house.route()
    assert (route.model, route.version, route.artifact) == ("m", 1, "artifacts/1")
    assert (route.task, route.state) == (TASKS["forecasting"], {"number": 1})
    assert house.route(Wanted("m", 2, None)).state == {"number": 2}


def test_a_name_is_looked_up_once_a_second(house: House, clock: Clock) -> None:
    for _ in range(5):
        assert house.route().version == 1
        clock.now += FRESH / 5.1
    assert house.readers.asked == 1
    clock.now += FRESH / 5
    house.route()
    assert house.readers.asked == 2


def test_a_move_by_another_process_is_seen_within_its_second(house: House, clock: Clock) -> None:
    assert house.route().version == 1
    house.move(2)
    clock.now += FRESH - 0.01
    assert house.route().version == 1
    clock.now += 0.02
    assert house.route().version == 2


def test_a_move_in_this_process_is_seen_at_once(house: House, clock: Clock) -> None:
    assert house.route().version == 1
    house.move(2)
    house.catalog.forget("m")
    assert house.route().version == 2


def test_forgetting_one_model_keeps_the_others(house: House, clock: Clock) -> None:
    house.route()
    house.catalog.forget("other")
    house.route()
    assert house.readers.asked == 1


def test_a_look_up_that_a_move_overtook_is_not_believed(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = house.catalog._resolve

    def overtaken(wanted: Wanted) -> Route:
        route = resolve(wanted)
        house.move(2)
        house.catalog.forget("m")
        return route

    monkeypatch.setattr(house.catalog, "_resolve", overtaken)
    assert house.route().version == 1  # it was asked before the move
    monkeypatch.undo()
    assert house.route().version == 2


def test_a_slow_look_up_does_not_stretch_the_second(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = house.catalog._resolve

    def slow(wanted: Wanted) -> Route:
        route = resolve(wanted)
        clock.now += 0.8
        return route

    monkeypatch.setattr(house.catalog, "_resolve", slow)
    house.route()
    monkeypatch.setattr(house.catalog, "_resolve", resolve)
    house.move(2)
    clock.now += FRESH - 0.8 + 0.01
    assert house.route().version == 2


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
        (Wanted("m", 3, None), "no version 3"),
        (Wanted("m", None, "canary"), "no alias canary"),
    ],
)
def test_what_is_not_there_is_not_found(house: House, wanted: Wanted, text: str) -> None:
    with pytest.raises(NotFound, match=text):
        house.route(wanted)


def test_a_version_whose_files_are_lost_is_not_found(house: House) -> None:
    house.storage.delete("artifacts/1")
    with pytest.raises(NotFound):
        house.route()


def test_a_manifest_is_read_once_for_all_names_of_a_version(house: House, clock: Clock) -> None:
    house.route()
    house.storage.delete("artifacts/1")
    assert house.route(Wanted("m", 1, None)).state == {"number": 1}
    assert house.route(Wanted("m", None, "production")).state == {"number": 1}


def test_memory_is_bounded_and_the_oldest_goes_first(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "ROUTES", 2)
    monkeypatch.setattr(predictions, "STATES", 1)
    for wanted in (PRODUCTION, Wanted("m", 2, None), Wanted("m", 1, None)):
        house.route(wanted)
    assert list(house.catalog._routes) == [Wanted("m", 2, None), Wanted("m", 1, None)]
    assert len(house.catalog._states) == 1
    house.route(Wanted("m", 2, None))
    assert house.readers.asked == 3


def test_forgetting_from_another_thread_while_requests_come(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, route = house.catalog, house.route()
    switch, stop, wrong = sys.getswitchinterval(), threading.Event(), list[BaseException]()

    def forget() -> None:
        try:
            while not stop.is_set():
                catalog.forget("m3")
        except BaseException as error:  # noqa: BLE001 - the test is whether there is any
            wrong.append(error)

    async def ask() -> None:
        for number in range(300):
            for _ in range(3):
                await catalog.route(Wanted(f"m{number % 30}", number, None))

    monkeypatch.setattr(catalog, "_resolve", lambda wanted: route)
    monkeypatch.setattr(predictions, "ROUTES", 100)
    thread = threading.Thread(target=forget)
    sys.setswitchinterval(1e-6)
    thread.start()
    asyncio.run(ask())
    stop.set()
    thread.join()
    sys.setswitchinterval(switch)
    assert wrong == []


class Lane:
    """A lane whose answer is the sum of what it was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, float]] = []

    async def send(self, artifact: str, arrays: list[Any], timeout: float) -> Answer:  # noqa: ASYNC109
        self.sent.append((artifact, len(arrays), timeout))
        return Answer([array.sum(axis=0) for array in arrays], 0.1, 0.2)


class Summing:
    """The smallest task: a forecast is the sum of the values; threads that worked are remembered."""

    name = "forecasting"  # whose instances and parameters it takes

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def encode(self, state: dict[str, Any], instance: Any, parameters: Any) -> Example:
        self.threads.add(threading.get_ident())
        if None in instance.values:
            place = instance.values.index(None)
            raise Invalid("no holes", [Problem(f"/values/{place}", "a hole")])
        if parameters.horizon == 9:
            raise Invalid("too far", [Problem("/parameters/horizon", "too far")])
        return Example(np.array(instance.values, np.float32)[:, None], instance.item_id)

    def decode(
        self, state: dict[str, Any], example: Example, outputs: Any, parameters: Any
    ) -> dict[str, Any]:
        return {"id": example.context, "sum": outputs[0], "shift": state["shift"]}


def ask(*instances: Any, **parameters: Any) -> tuple[dict[str, Any], Lane, Summing]:
    lane, task = Lane(), Summing()
    route = Route("m", 3, task, "artifacts/3", {"shift": 1})  # type: ignore[arg-type]
    body = json.dumps({"instances": instances, "parameters": parameters}).encode()
    written, answer = asyncio.run(predict(lane, route, body, 7.5))  # type: ignore[arg-type]
    assert (answer.queue_seconds, answer.compute_seconds) == (0.1, 0.2)
    return json.loads(written), lane, task


@pytest.mark.parametrize("count", [1, INLINE, INLINE + 1, 300])
def test_many_instances_keep_their_order_and_leave_the_loop_free(count: int) -> None:
    body, lane, task = ask(*({"values": [k, k], "item_id": str(k)} for k in range(count)))
    assert body["predictions"] == [{"id": str(k), "sum": 2.0 * k, "shift": 1} for k in range(count)]
    assert (body["model"], body["version"]) == ("m", 3)
    assert lane.sent == [("artifacts/3", count, 7.5)]
    assert (threading.get_ident() in task.threads) == (count <= INLINE)


@pytest.mark.parametrize("before", [0, 7])
def test_the_place_of_a_bad_instance_is_told_and_nothing_is_sent(before: int) -> None:
    with pytest.raises(Invalid) as caught:
        ask(*[{"values": [1]}] * before, {"values": [1, None]})
    assert caught.value.problems == [Problem(f"/instances/{before}/values/1", "a hole")]
    with pytest.raises(Invalid) as caught:
        ask({"values": [1]}, horizon=9)
    assert caught.value.problems == [Problem("/parameters/horizon", "too far")]


def test_parameters_may_be_left_out() -> None:
    request = parse(TASKS["forecasting"], b'{"instances":[{"values":[1]}]}')
    assert request.parameters == TASKS["forecasting"].parameters()


def test_a_version_of_a_task_that_is_gone_is_no_crash_of_others(house: House) -> None:
    with house.sessions.begin() as session:
        session.execute(update(ModelVersion).where(ModelVersion.version == 2).values(task="knitting"))
    assert house.route().version == 1
    with pytest.raises(NotFound, match="knitting"):
        house.route(Wanted("m", 2, None))
