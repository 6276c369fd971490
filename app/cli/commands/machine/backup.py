"""`recurra backup` and `recurra restore`: a copy of database and store, and an installation made of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from obstore.exceptions import BaseError
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from app.cli.commands.machine.migrate import open_database
from app.cli.console import AsJson, notes, output, print_json
from app.cli.installation import DataDir, fail, read_settings
from app.database.migrate import NewerDatabase, NotMigrated
from app.database.rows import UnknownValue
from app.errors import NoSpace, Unavailable
from app.infrastructure.deletion_hold import HoldLapsed
from app.infrastructure.processes.managed import keep_files_private
from app.infrastructure.storage import Storage
from app.services.maintenance.backup import TargetNotEmpty, back_up
from app.services.maintenance.backup_directory import BackupDamaged, Manifest
from app.services.maintenance.restore import restore as restore_backup
from app.typedefs import Json

REFUSALS = (
    BackupDamaged, HoldLapsed, NewerDatabase, NoSpace, NotMigrated, TargetNotEmpty, Unavailable, UnknownValue,
)  # fmt: skip
GIBIBYTE = 1 << 30


def backup(
    directory: Annotated[Path, typer.Argument(help="Where to write it: a new directory, or an empty one.")],
    *,
    as_json: AsJson = False,
    data_dir: DataDir = Path(".recurra"),
) -> None:
    """Copy database and store of this installation while it runs; exit with 1 if files are damaged."""
    keep_files_private()
    url = make_url(read_settings(data_dir).database)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        fail(notes(), f"There is no database yet at {url.database}")  # opening it would make one
    with _installation(data_dir) as (engine, storage):
        manifest = back_up(engine, storage, directory)
    if as_json:
        print_json({"directory": str(directory.absolute()), **_facts(manifest)})
    else:
        output().print(f"{directory}: {_summary(manifest)}", markup=False, soft_wrap=True)
    for problem in manifest.problems:
        notes().print(f"In the store already, {problem}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1 if manifest.problems else 0)


def restore(
    directory: Annotated[Path, typer.Argument(help="A backup.", exists=True, file_okay=False)],
    *,
    as_json: AsJson = False,
    data_dir: DataDir = Path(".recurra"),
) -> None:
    """Make an installation of a backup, in an empty database and store; may be killed and run again."""
    keep_files_private()
    with _installation(data_dir) as (engine, storage):
        result = restore_backup(engine, storage, directory)
    facts = {name: value for name, value in asdict(result).items() if name != "manifest"}
    if as_json:
        print_json({"restored": facts, "backup": _facts(result.manifest)})
        return
    output().print(
        f"Restored {_summary(result.manifest)}, as the installation {result.installation}. "
        f"{result.stored} files were stored now; {result.released} jobs that were running are queued again",
        markup=False,
        soft_wrap=True,
    )


@contextmanager
def _installation(data_dir: Path) -> Iterator[tuple[Engine, Storage]]:
    """Database and store of the settings; an error is printed, and the command exits with 1."""
    settings = read_settings(data_dir)
    try:
        with open_database(data_dir) as engine:
            yield engine, Storage(settings.storage)
    except REFUSALS as error:
        fail(notes(), str(error))
    except BaseError as error:
        fail(notes(), f"The store at {settings.storage} failed: {error}")


def _summary(manifest: Manifest) -> str:
    rows = {name: manifest.tables[name].rows for name in ("datasets", "jobs", "model_versions")}
    counts = f"{rows['datasets']} data sets, {rows['jobs']} jobs, {rows['model_versions']} versions"
    return f"{counts}, {manifest.files.count} files of {manifest.files.bytes / GIBIBYTE:,.3g} GiB"


def _facts(manifest: Manifest) -> Json:
    return {name: value for name, value in msgspec.to_builtins(manifest).items() if name != "format"}
