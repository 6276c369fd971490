"""`recurra doctor`: what is wrong with an installation, and its repair."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer
from rich.text import Text
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from app.cli.commands.serve import DataDir, read_settings
from app.cli.console import AsJson, dump, output
from app.cli.stack.embedded_servers import answers
from app.database.engine import make_engine, make_readers, make_sessions
from app.database.migrate import is_current, upgrade
from app.infrastructure.broker import Broker
from app.infrastructure.storage import Storage
from app.services.jobs.dispatcher import Dispatcher
from app.services.maintenance import database_checks, storage_checks
from app.services.maintenance.database_checks import Checkup, Finding, State, run
from app.settings import Settings

ROOM = 1 << 30  # bytes of disk below which a service is soon in trouble
STYLES = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "red", State.REPAIRED: "cyan"}


def doctor(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be without loss.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = Path(".recurra"),
) -> None:
    """Look for what is wrong; exit with 1 when something is left that needs somebody."""
    findings = []
    for finding in examine(read_settings(data_dir), repair=repair):
        findings.append(finding)
        if not as_json:
            state = (f"{finding.state:<10}", STYLES[finding.state])
            output().print(Text.assemble(state, f"{finding.check:<13}{finding.detail}"), soft_wrap=True)
    sound = all(finding.state is not State.PROBLEM for finding in findings)
    if as_json:
        dump({"sound": sound, "checks": [asdict(finding) for finding in findings]})
    raise typer.Exit(0 if sound else 1)


def examine(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    """Look at everything; what rests on a broken part is neither looked at nor, above all, repaired."""
    yield run(_disk(settings), repair=repair)
    yield run(_redis(settings), repair=repair)
    yield (schema := run(_schema(settings), repair=repair))
    if schema.state is State.PROBLEM:
        return
    with _engine(settings) as engine:
        if engine.dialect.name == "sqlite":
            yield (whole := run(_integrity(engine), repair=repair))
            if whole.state is State.PROBLEM:
                return
        sessions = make_sessions(engine)
        for checkup in database_checks.of_rows(sessions, lambda: _ring(settings, engine)):
            yield run(checkup, repair=repair)
        store = Checkup("store", "a file can be put, read and deleted", lambda: _unwritable(settings))
        yield (usable := run(store, repair=repair))
        if usable.state is State.PROBLEM:
            return
        for checkup in storage_checks.of_store(
            sessions, Storage(settings.storage), settings.data_dir.resolve()
        ):
            yield run(checkup, repair=repair)


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    engine = make_engine(settings.database)
    try:
        yield engine
    finally:
        engine.dispose()


def _schema(settings: Settings) -> Checkup:
    def find() -> list[str]:
        url = make_url(settings.database)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            return [f"there is none yet at {url.database}"]  # opening it would make one
        with _engine(settings) as engine:
            return [] if is_current(engine) else ["it is not at this version's schema"]

    def repair() -> None:
        with _engine(settings) as engine:
            upgrade(engine)

    return Checkup("database", "it answers, and has this version's schema", find, repair)


def _integrity(engine: Engine) -> Checkup:
    def find() -> list[str]:
        with make_readers(engine)() as session:
            told = list(session.scalars(text("pragma integrity_check")))
        return [] if told == ["ok"] else told

    return Checkup("integrity", "SQLite's own check finds nothing", find)


def _redis(settings: Settings) -> Checkup:
    away, fault = "it does not answer", State.PROBLEM
    if not settings.redis_url:
        away, fault = "the embedded server does not run; `recurra up` starts it", State.WARNING
    return Checkup("redis", "it answers", lambda: [] if answers(settings.redis) else [away], fault=fault)


def _disk(settings: Settings) -> Checkup:
    places = [settings.data_dir.resolve()]
    if settings.storage.startswith("file:"):
        places.append(Path(unquote(urlsplit(settings.storage).path)))

    def find() -> list[str]:
        there = [next(path for path in (place, *place.parents) if path.exists()) for place in places]
        disks = {path.stat().st_dev: path for path in there}
        free = {path: shutil.disk_usage(path).free for path in disks.values()}
        return [f"{left >> 20} MiB are free at {path}" for path, left in free.items() if left < ROOM]

    return Checkup("disk", "there is room", find, fault=State.WARNING)


def _unwritable(settings: Settings) -> list[str]:
    return storage_checks.unwritable(Storage(settings.storage))


def _ring(settings: Settings, engine: Engine) -> None:
    """As the service's own dispatchers do."""
    broker = Broker(settings.redis, settings.redis_prefix)
    try:
        Dispatcher(make_sessions(engine), broker).sweep()
    finally:
        broker.close()
