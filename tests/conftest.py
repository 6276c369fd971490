"""Fixtures that all tests share: databases made by the migrations, servers that are real.

Those that need the product import it themselves: tests without a server start in a moment.
"""

# ruff: noqa: PLC0415
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import settings

from tests.support.fixtures.made_once import directory_of_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from app.database.engine import Sessions
    from app.infrastructure.storage import Storage
    from tests.support.fixtures.s3 import S3Server
    from tests.support.fixtures.servers import Valkey
    from tests.support.fixtures.service import Service
    from tests.support.fixtures.stack import Stack

REQUIRED = bool(os.environ.get("RECURRA_TEST_REQUIRE_SERVERS"))
TESTS = Path(__file__).parent

# What makes a test one of `server`, which `make test-fast` leaves out: a fixture with a server, a database or
# a large library, or a place where tests start processes, learn, or read a lot.
SERVER_FIXTURES = {
    "database_url", "fragile", "postgresql", "redis_server", "redis_url", "s3", "seqeval", "sqlite_template",
    "stack",
}  # fmt: skip
SERVER_PLACES = [
    "app/api/test_raw.py", "app/cli/stack", "app/cli/test_live.py", "app/page/test_snippets.py",
    "app/page/test_views.py",
    "app/tasks/generation/test_data.py", "app/tasks/tagging/test_data.py",
    "app/tasks/translation/test_metrics.py", "architecture/test_imports.py",
    "benchmarks", "contract", "deploy", "docs", "e2e", "faults", "learning", "workers",
]  # fmt: skip

# Run first, so that neither of two test processes waits for the other at the end.
LONG_PLACES = [
    "app/cli", "client/test_service.py", "contract", "docs", "e2e", "faults",
    "workers/batch", "workers/serving", "workers/test_main.py", "workers/training",
]  # fmt: skip


def pytest_configure() -> None:
    """Before torch is loaded: its threads wait as those of training do, instead of taking a core each."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for library in ("OMP", "OPENBLAS"):  # test processes share the cores, and their networks are tiny
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    settings.register_profile("gate", deadline=None, max_examples=20)  # a busy machine is no fault
    settings.register_profile("slow", deadline=None, max_examples=200)
    settings.load_profile(os.environ.get("RECURRA_HYPOTHESIS", "gate"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what cannot be among the fast tests, and begin with what takes longest."""
    for item in items:
        needed = set(getattr(item, "fixturenames", ()))
        if needed & SERVER_FIXTURES or is_in(item, SERVER_PLACES):
            item.add_marker("server")
    items.sort(key=lambda item: not is_in(item, LONG_PLACES))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of the ways to share tests out, that by file knows which files need what starts slowly."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.support.scheduling import ServiceScheduling

    return ServiceScheduling(config, log)


def is_in(item: pytest.Item, places: list[str]) -> bool:
    """Whether a test lies in one of these files or folders of `tests`."""
    return any(item.path.is_relative_to(TESTS / place) for place in places)


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
    """The URL of a fresh, migrated PostgreSQL database, dropped at the end."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.engine import make_url

    from app.database.engine import make_engine
    from app.database.migrate import upgrade

    url = make_url(server_url("RECURRA_TEST_DATABASE_URL"))
    name = f"recurra_{uuid4().hex[:12]}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"create database {name}"))
        connection.execute(text(f"alter database {name} set synchronous_commit = off"))  # as quick as it gets
    made = url.set(database=name).render_as_string(hide_password=False)
    engine = make_engine(made)
    upgrade(engine)
    engine.dispose()
    yield made
    with admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    admin.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    from app.database.engine import make_engine
    from app.database.migrate import upgrade

    path = tmp_path_factory.mktemp("template") / "template.db"
    engine = make_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()  # the last connection folds the write-ahead log into the file
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty, migrated database of each kind."""
    from sqlalchemy import create_engine

    from app.database.engine import Base

    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        (tmp_path / "test.db").write_bytes(template.read_bytes())
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    url: str = request.getfixturevalue("postgresql")
    engine = create_engine(url)
    with engine.begin() as connection:  # others use the same database, and leave their rows
        for table in reversed(Base.metadata.sorted_tables):  # few rows: `truncate` would write files anew
            connection.execute(table.delete())
    engine.dispose()
    yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on each kind of database."""
    from app.database.engine import make_engine
    from tests.support.fixtures.servers import close_engine

    engine = make_engine(database_url)
    yield engine
    close_engine(engine)


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    """Sessions on each kind of database."""
    from app.database.engine import make_sessions

    return make_sessions(engine)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An artifact store in a directory."""
    from app.infrastructure.storage import Storage

    return Storage((tmp_path / "storage").as_uri())


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server of this test process."""
    from tests.support.fixtures.s3 import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture
def s3_storage(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An artifact store in a bucket."""
    from app.infrastructure.storage import Storage

    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return Storage(s3.new_store())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Valkey]:
    """A Valkey server of this test process."""
    from tests.support.fixtures.servers import valkey

    with valkey() as server:
        yield server


@pytest.fixture
def running(tmp_path: Path, database_url: str, redis_server: Valkey) -> Iterator[Service]:
    """The application on each kind of database, with its own data directory."""
    from tests.support.fixtures.service import service

    with service(tmp_path, database_url, redis_server.url) as made:
        yield made


@pytest.fixture
def on_sqlite(tmp_path: Path, sqlite_template: Path, redis_server: Valkey) -> Iterator[Service]:
    """The application on SQLite, where the kind of database does not matter."""
    from tests.support.fixtures.service import service

    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(tmp_path, f"sqlite:///{tmp_path / 'test.db'}", redis_server.url) as made:
        yield made


@pytest.fixture(scope="module")
def untouched(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[Service]:
    """The application on SQLite, one for all those tests of a module that leave nothing to each other."""
    from tests.support.fixtures.service import service

    directory = tmp_path_factory.mktemp("untouched")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(directory, f"sqlite:///{directory / 'test.db'}", redis_server.url) as made:
        yield made


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole service, `recurra up`, that all tests of this process share: each names its own models."""
    from tests.support.fixtures.stack import running_stack

    with running_stack(tmp_path_factory.mktemp("stack") / "data") as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def names_of_its_own(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fails a file that trains a model under the name of another file's on the shared service."""
    yield
    if (module := sys.modules.get("tests.support.fixtures.stack")) is not None:
        (names := directory_of_run(tmp_path_factory) / "model_names").mkdir(exist_ok=True)
        module.claim_names(names, str(request.path.relative_to(TESTS)))


@pytest.fixture(params=["embedded", "external"])
def redis_url(request: pytest.FixtureRequest, redis_server: Valkey) -> str:
    """A real server of each kind."""
    return redis_server.url if request.param == "embedded" else server_url("RECURRA_TEST_REDIS_URL")
