"""`recurra doctor`: checks an installation, and repairs it where that loses nothing."""

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

from app.cli.console import AsJson, output, print_json
from app.cli.installation import DataDir, read_settings
from app.cli.stack.embedded_servers import is_responding
from app.database.engine import make_engine, make_readers, make_sessions
from app.database.migrate import check_not_newer, is_current, move_to
from app.database.projects import ALL_PROJECTS
from app.infrastructure.broker import Broker
from app.infrastructure.processes.managed import keep_files_private
from app.infrastructure.storage import Storage
from app.services.jobs.dispatcher import Dispatcher
from app.services.maintenance import database_checks, storage_checks
from app.services.maintenance.database_checks import Check, CheckResult, CheckState, run
from app.settings import Settings

MIN_FREE_BYTES = 1 << 30  # on each disk
STYLES = {
    CheckState.OK: "green",
    CheckState.WARNING: "yellow",
    CheckState.PROBLEM: "red",
    CheckState.REPAIRED: "cyan",
}


def doctor(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be without loss of data.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = Path(".recurra"),
) -> None:
    """Check an installation; exit with 1 if there are problems that have not been repaired."""
    keep_files_private()
    results = []
    for result in examine(read_settings(data_dir), repair=repair):
        results.append(result)
        if not as_json:
            state = (f"{result.state:<10}", STYLES[result.state])
            output().print(Text.assemble(state, f"{result.check:<13}{result.detail}"), soft_wrap=True)
    sound = all(result.state is not CheckState.PROBLEM for result in results)
    if as_json:
        print_json({"sound": sound, "checks": [asdict(result) for result in results]})
    raise typer.Exit(0 if sound else 1)


def examine(settings: Settings, *, repair: bool) -> Iterator[CheckResult]:
    """Yield the result of each check; parts that depend on a broken one are neither checked nor repaired."""
    yield run(_disk(settings), repair=repair)
    yield run(_redis(settings), repair=repair)
    yield (schema := run(_schema(settings), repair=repair))
    if schema.state is CheckState.PROBLEM:
        return
    with _engine(settings) as engine:
        if engine.dialect.name == "sqlite":
            yield (integrity := run(_integrity(engine), repair=repair))
            if integrity.state is CheckState.PROBLEM:
                return
        sessions = make_sessions(engine, ALL_PROJECTS)
        for check in database_checks.row_checks(sessions, lambda: _run_dispatch_pass(settings, engine)):
            yield run(check, repair=repair)
        store = Check("store", "a file can be put, read and deleted", lambda: _unwritable(settings))
        yield (storage := run(store, repair=repair))
        if storage.state is CheckState.PROBLEM:
            return
        for check in storage_checks.store_checks(
            sessions, Storage(settings.storage), settings.data_dir.resolve()
        ):
            yield run(check, repair=repair)


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    engine = make_engine(settings.database)
    try:
        yield engine
    finally:
        engine.dispose()


def _schema(settings: Settings) -> Check:
    def find() -> list[str]:
        url = make_url(settings.database)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            return [f"there is none yet at {url.database}"]  # opening it would make one
        with _engine(settings) as engine:
            check_not_newer(engine)
            return [] if is_current(engine) else ["it is not at this version's schema"]

    def repair() -> None:
        with _engine(settings) as engine:
            move_to(engine)

    return Check("database", "it answers, and has this version's schema", find, repair)


def _integrity(engine: Engine) -> Check:
    def find() -> list[str]:
        with make_readers(engine, ALL_PROJECTS)() as session:
            messages = list(session.scalars(text("pragma integrity_check")))
        return [] if messages == ["ok"] else messages

    return Check("integrity", "SQLite's own check finds nothing", find)


def _redis(settings: Settings) -> Check:
    detail, severity = "it does not answer", CheckState.PROBLEM
    if not settings.redis_url:
        detail, severity = "the embedded server does not run; `recurra up` starts it", CheckState.WARNING

    def find() -> list[str]:
        return [] if is_responding(settings.redis) else [detail]

    return Check("redis", "it answers", find, severity=severity)


def _disk(settings: Settings) -> Check:
    directories = [settings.data_dir.resolve()]
    if settings.storage.startswith("file:"):
        directories.append(Path(unquote(urlsplit(settings.storage).path)))

    def find() -> list[str]:
        existing = [next(path for path in (one, *one.parents) if path.exists()) for one in directories]
        disks = {path.stat().st_dev: path for path in existing}
        free = {path: shutil.disk_usage(path).free for path in disks.values()}
        return [
            f"{left >> 20} MiB are free at {path}" for path, left in free.items() if left < MIN_FREE_BYTES
        ]

    return Check("disk", "there is room", find, severity=CheckState.WARNING)


def _unwritable(settings: Settings) -> list[str]:
    return storage_checks.check_writable(Storage(settings.storage))


def _run_dispatch_pass(settings: Settings, engine: Engine) -> None:
    """Announce queued jobs, as the service's own dispatchers do."""
    broker = Broker(settings.redis, settings.redis_prefix)
    try:
        Dispatcher(make_sessions(engine, ALL_PROJECTS), broker).run_pass()
    finally:
        broker.close()
