"""`recurra models export` and `import`: out of a service, and into an installation."""

import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import asdict

from app.cli.commands.machine.migrate import open_database
from app.cli.console import notes
from app.cli.exchange import mlflow_model
from app.cli.exchange.version_directory import (
    VERSION_FILE,
    BadVersion,
    check,
    copy_files,
    unpack,
    write_facts,
)
from app.cli.installation import fail, read_settings
from app.database.engine import make_sessions
from app.database.migrate import is_current
from app.errors import AppError
from app.infrastructure.processes.managed import keep_files_private
from app.infrastructure.storage import Storage
from app.services.models.imports import import_version
from recurra import Client


def export_version(client: Client, name: str, number: int, directory: Path, *, as_mlflow: bool) -> None:
    """Write a version of a service into a new or empty directory."""
    version = client.version(name, number)
    with TemporaryDirectory() as temporary:
        archive, files = Path(temporary) / "version.zip", Path(temporary) / "files"
        client.download(name, number, archive)
        files.mkdir()
        try:
            unpack(archive, files)
            write_facts(files, version)
            check(files)
        except BadVersion as error:
            fail(notes(), f"{name} {number} cannot be exported: {error}")
        if as_mlflow:
            mlflow_model.write(directory, files, version, time.time())
        else:
            shutil.copytree(files, directory, dirs_exist_ok=True)


def import_directory(directory: Path, model: str, project: str, data_dir: Path) -> int:
    """Publish what `export_version` wrote as a model's next version, whose number is returned."""
    keep_files_private()
    exported = directory / mlflow_model.ARTIFACT
    with open_database(data_dir) as engine, TemporaryDirectory() as temporary:
        if not is_current(engine):
            fail(notes(), "The database is not at this version's schema: run `recurra migrate` first")
        files = Path(temporary) / "files"
        try:
            # What is checked is what is stored, whoever writes into the directory meanwhile.
            copy_files(exported if exported.is_dir() else directory, files)
            facts = check(files)
            storage = Storage(read_settings(data_dir).storage)
            paths = [path for path in sorted(files.iterdir()) if path.name != VERSION_FILE]
            return import_version(make_sessions(engine, project), storage, paths, model, asdict(facts))
        except (BadVersion, AppError) as error:
            fail(notes(), f"{directory} is not imported: {error}")
