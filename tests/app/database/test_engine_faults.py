"""PostgreSQL over a network that fails: every wait is bounded, and nothing stays locked."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from app.database import postgresql as driver
from app.database.engine import make_engine
from tests.faults.proxy import Proxy
from tests.support.fixtures.servers import until

SLACK = 0.8  # seconds, of a machine that does other work too
CONNECT = 2.0  # what connecting may take


@pytest.fixture
def proxy(postgresql: str) -> Iterator[Proxy]:
    url = make_url(postgresql)
    with Proxy((url.host or "127.0.0.1", url.port or 5432)) as made:
        yield made


@pytest.fixture
def engine(postgresql: str, proxy: Proxy) -> Iterator[Engine]:
    url = make_url(postgresql).set(host="127.0.0.1", port=proxy.port)
    made = make_engine(url.render_as_string(hide_password=False))
    yield made
    made.dispose()


def one(engine: Engine) -> object:
    with engine.connect() as connection:
        return connection.execute(select(1)).scalar_one()


def failing(engine: Engine) -> float:
    """Seconds until an error says that the database is unavailable."""
    begun = time.monotonic()
    with pytest.raises(OperationalError):
        one(engine)
    return time.monotonic() - begun


def test_the_server_gives_up_before_we_do() -> None:
    assert (
        driver.SERVER_TIMEOUTS_MS["lock_timeout"]
        < driver.SERVER_TIMEOUTS_MS["statement_timeout"]
        < 1000 * driver.SILENCE_SECONDS
    )
    assert driver.PING_SECONDS < driver.SILENCE_SECONDS


def test_a_silent_server_is_an_error(engine: Engine, proxy: Proxy) -> None:
    assert one(engine) == 1
    proxy.black_hole()
    assert failing(engine) < driver.PING_SECONDS + CONNECT + SLACK
    with ThreadPoolExecutor(10) as pool:  # one of them tries, and the others fail at once
        took = sorted(pool.map(lambda _: failing(engine), range(10)))
    assert took[-2] < SLACK
    assert took[-1] < CONNECT + SLACK
    proxy.heal()
    assert one(engine) == 1


def test_a_server_that_refuses_is_given_up_at_once(engine: Engine, proxy: Proxy) -> None:
    assert one(engine) == 1
    proxy.refuse()
    assert failing(engine) < SLACK
    proxy.heal()
    assert one(engine) == 1


def test_a_statement_that_is_not_answered(
    engine: Engine, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "SILENCE_SECONDS", 0.5)
    with engine.connect() as connection:
        assert connection.execute(select(1)).scalar_one() == 1
        proxy.black_hole()
        begun = time.monotonic()
        with pytest.raises(OperationalError, match="was silent") as caught:
            connection.execute(select(1))
        assert time.monotonic() - begun < 0.5 + SLACK
        assert caught.value.connection_invalidated
    proxy.heal()
    assert one(engine) == 1


def test_what_a_lost_client_has_locked_is_free_again(
    postgresql: str, engine: Engine, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a row that is skipped while locked, such as an expired lease, would be skipped for ever."""
    monkeypatch.setitem(driver.SERVER_TIMEOUTS_MS, "idle_in_transaction_session_timeout", 500)
    impatient = make_engine(engine.url.render_as_string(hide_password=False))
    direct = make_engine(postgresql)
    query = text("select n from locked for update skip locked")
    with direct.begin() as connection:
        connection.execute(text("create table if not exists locked as select 1 as n"))

    def free() -> bool:
        with direct.begin() as connection:
            return connection.execute(query).one_or_none() is not None

    with impatient.connect() as lost:
        assert lost.execute(query).one()
        proxy.black_hole()
        assert not free()
        until(free, 10, "the lock's end", every=0.05)
        proxy.heal()
        with pytest.raises(DBAPIError):
            lost.execute(query)
    with direct.begin() as connection:
        connection.execute(text("drop table locked"))
    for made in (impatient, direct):
        made.dispose()
