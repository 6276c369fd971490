"""Keys are found by their prefix, compared by their digest, and remembered for a second at most."""

import asyncio
import base64
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.database.engine import make_readers, make_sessions
from app.database.projects import ALL_PROJECTS
from app.database.tables import Key
from app.errors import Forbidden, LimitReached, Unauthenticated
from app.services import lookup_cache
from app.services.access import authentication, keys, rates
from app.services.access.authentication import MAX_OUTAGE_SECONDS, Authenticator
from app.services.access.callers import Caller, KeyLimits, Scope
from app.services.access.rates import RequestRates
from app.thread_pools import KEY_READS
from tests.support.fixtures.servers import until

NO_REDIS = "unix:///nowhere/redis.sock"  # where nobody answers


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Readers:
    """Sessions of a database that may be away; counts how often it is asked."""

    def __init__(self, engine: Engine) -> None:
        self.sessions = make_readers(engine, ALL_PROJECTS)
        self.opened, self.away = 0, False

    def __call__(self) -> Session:
        self.opened += 1
        if self.away:
            raise OperationalError("select", {}, Exception("no route to host"))
        return self.sessions()


class Door:
    """An authenticator over a real database, with a clock that stands still."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.readers = Readers(engine)
        rates = RequestRates(NO_REDIS, "t:")
        self.authenticator = Authenticator(self.readers, rates)  # type: ignore[arg-type]

    def make(self, project: str = "a", **fields: Any) -> keys.NewKey:
        limits = KeyLimits(**fields.pop("limits", {}))
        with make_sessions(self.engine, project).begin() as session:
            return keys.create(session, "k", fields.pop("scopes", [Scope.READ]), limits, **fields)

    def change(self, act: Callable[[Session], object]) -> None:
        with make_sessions(self.engine, ALL_PROJECTS).begin() as session:
            act(session)

    def enter(self, key: str, scheme: str = "Bearer") -> Caller:
        try:
            return asyncio.run(self.authenticator.identify(f"{scheme} {key}".encode()))
        finally:
            until(lambda: KEY_READS.idle, what="the end of what is read in the background")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (lookup_cache, authentication, rates):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=made))
    return made


@pytest.fixture
def door(engine: Engine) -> Door:
    return Door(engine)


def test_a_key_says_who_calls(door: Door) -> None:
    made = door.make("a", scopes=[Scope.TRAIN, Scope.READ], limits={"queued_jobs": 3})
    caller = door.enter(made.key)
    assert caller == Caller(
        "a", frozenset({Scope.READ, Scope.TRAIN}), made.row.id, "k", KeyLimits(queued_jobs=3)
    )
    caller.require(Scope.READ)
    with pytest.raises(Forbidden, match="scope admin; this one has read, train"):
        caller.require(Scope.ADMIN)


def test_only_a_digest_is_stored(door: Door) -> None:
    made = door.make()
    with make_sessions(door.engine, "a")() as session:
        row = session.get_one(Key, made.row.id)
        values = [str(getattr(row, column)) for column in Key.__table__.columns.keys()]  # noqa: SIM118
    secret = made.key.rpartition("_")[2]
    assert len(secret) == 43
    assert not any(secret in value for value in values)
    assert made.key.startswith(f"{row.prefix}_")


def test_what_is_sent_may_be_bearer_or_basic(door: Door) -> None:
    made = door.make()
    assert door.enter(made.key, "bearer").key_id == made.row.id
    credentials = base64.b64encode(f"anyone:{made.key}".encode()).decode()
    assert door.enter(credentials, "Basic").key_id == made.row.id


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: "",
        lambda key: key[:-1],
        lambda key: key + "x",
        lambda key: key[:-1] + ("a" if key[-1] != "a" else "b"),
        lambda key: "rk_" + "z" * 12 + key[15:],
        lambda key: key.upper(),
        lambda key: "é" + key,
    ],
)
def test_what_is_no_key_is_refused(door: Door, spoil: Callable[[str], str]) -> None:
    made = door.make()
    assert door.enter(made.key)
    for scheme in ("Bearer", "Basic", "Digest"):
        with pytest.raises(Unauthenticated):
            door.enter(spoil(made.key), scheme)
    with pytest.raises(Unauthenticated):
        asyncio.run(door.authenticator.identify(b""))


def test_a_key_is_read_once_a_second(door: Door, clock: Clock) -> None:
    made = door.make()
    for _ in range(20):
        door.enter(made.key)
        clock.now += 0.02
    assert door.readers.opened == 1
    clock.now += 1
    door.enter(made.key)
    assert door.readers.opened == 2


def test_a_revoked_key_is_refused_within_a_second_or_at_a_notice(door: Door, clock: Clock) -> None:
    first, second = door.make(), door.make()
    for made in (first, second):
        assert door.enter(made.key)
        door.change(lambda session, made=made: keys.revoke(session, made.row.id))  # type: ignore[misc]
    door.authenticator.forget(first.row.prefix)
    with pytest.raises(Unauthenticated):
        door.enter(first.key)
    assert door.enter(second.key)  # whose notice was lost
    clock.now += lookup_cache.MAX_AGE_SECONDS
    with pytest.raises(Unauthenticated):
        door.enter(second.key)


def test_a_rotated_key_has_another_secret(door: Door) -> None:
    made = door.make()
    rotated: list[keys.NewKey] = []
    with make_sessions(door.engine, "a").begin() as session:
        rotated.append(keys.rotate(session, made.row.id))
    with pytest.raises(Unauthenticated):
        door.enter(made.key)
    assert door.enter(rotated[0].key).key_id == made.row.id


def test_an_expired_key_is_refused_even_while_it_is_remembered(door: Door, clock: Clock) -> None:
    made = door.make(expires_at=time.time() + 3600)
    assert door.enter(made.key)
    clock.now += 0.2
    assert door.enter(made.key)
    door.readers.away = True
    clock.now += MAX_OUTAGE_SECONDS / 2
    assert door.enter(made.key)
    expired = door.make(expires_at=time.time() - 1)
    door.readers.away = False
    with pytest.raises(Unauthenticated):
        door.enter(expired.key)
    soon = door.make(expires_at=time.time() + 0.5)
    assert door.enter(soon.key)
    clock.now += 0.6
    with pytest.raises(Unauthenticated, match="expired"):
        door.enter(soon.key)


def test_keys_outlive_an_outage_of_the_database_for_some_minutes(door: Door, clock: Clock) -> None:
    made = door.make()
    assert door.enter(made.key)
    door.readers.away = True
    clock.now += 60
    assert door.enter(made.key)
    clock.now += MAX_OUTAGE_SECONDS
    with pytest.raises(OperationalError):
        door.enter(made.key)
    with pytest.raises(OperationalError):
        door.enter(door.make().key)


def test_requests_beyond_the_rate_are_told_when_to_come_back(door: Door, clock: Clock) -> None:
    slow, free = door.make(limits={"requests_per_second": 2.0}), door.make()
    for _ in range(2):
        door.enter(slow.key)
    with pytest.raises(LimitReached, match="2 requests a second") as refused:
        door.enter(slow.key)
    assert refused.value.retry_after == 1
    for _ in range(50):
        door.enter(free.key)
    clock.now += 0.5
    door.enter(slow.key)
    with pytest.raises(LimitReached):
        door.enter(slow.key)
    rare = door.make(limits={"requests_per_second": 0.1})
    door.enter(rare.key)
    with pytest.raises(LimitReached) as refused:
        door.enter(rare.key)
    assert refused.value.retry_after == 10
