"""Fixtures that all tests share: databases made by the migrations, servers that are real."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from app.database.engine import Base, Sessions, make_engine, make_sessions
from app.database.migrate import upgrade
from app.infrastructure.storage import Storage
from tests.servers import Valkey, valkey
from tests.service import Service, service

REQUIRED = bool(os.environ.get("RECURRA_TEST_REQUIRE_SERVERS"))


def pytest_configure() -> None:
    """Before torch is loaded: its threads wait as those of training do, instead of taking a core each."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    settings.register_profile("recurra", deadline=None)  # a busy machine is no fault
    settings.load_profile("recurra")


def server_url(variable: str) -> str:
    """A server named by the environment; without it the test is skipped, unless servers are required."""
    url = os.environ.get(variable, "")
    if not url:
        if REQUIRED:
            pytest.fail(f"{variable} is not set, and servers are required")
        pytest.skip(f"{variable} is not set")
    return url


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a fresh PostgreSQL database, dropped at the end."""
    url = make_url(server_url("RECURRA_TEST_DATABASE_URL"))
    name = f"recurra_{uuid4().hex[:12]}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"create database {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    admin.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    engine = make_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()  # the last connection folds the write-ahead log into the file
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty, migrated database of each kind."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        (tmp_path / "test.db").write_bytes(template.read_bytes())
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    url: str = request.getfixturevalue("postgresql")
    engine = make_engine(url)
    upgrade(engine)
    yield url
    with engine.begin() as connection:
        names = ", ".join(table.name for table in Base.metadata.sorted_tables)
        connection.execute(text(f"truncate {names} cascade"))
    engine.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on each kind of database."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    """Sessions on each kind of database."""
    return make_sessions(engine)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An artifact store in a directory."""
    return Storage((tmp_path / "storage").as_uri())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Valkey]:
    """A Valkey server of this test process."""
    with valkey() as server:
        yield server


@pytest.fixture
def running(tmp_path: Path, database_url: str, redis_server: Valkey) -> Iterator[Service]:
    """The application on each kind of database, with its own data directory."""
    with service(tmp_path, database_url, redis_server.url) as made:
        yield made


@pytest.fixture
def on_sqlite(tmp_path: Path, sqlite_template: Path, redis_server: Valkey) -> Iterator[Service]:
    """The application on SQLite, where the kind of database does not matter."""
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(tmp_path, f"sqlite:///{tmp_path / 'test.db'}", redis_server.url) as made:
        yield made


@pytest.fixture(params=["embedded", "external"])
def redis_url(request: pytest.FixtureRequest, redis_server: Valkey) -> str:
    """A real server of each kind."""
    return redis_server.url if request.param == "embedded" else server_url("RECURRA_TEST_REDIS_URL")
