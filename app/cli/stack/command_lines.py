"""The command lines of the service's processes, and what they need before they can start."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import NoReturn

# Without it an `app/` in the current directory would be imported, by any descendant.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
# Of the extra `worker`: distributions, by the modules that are imported.
WORKER_MODULES = {
    "jiwer": "jiwer",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "optuna": "optuna",
    "sacrebleu": "sacrebleu",
    "safetensors": "safetensors",
    "sklearn": "scikit-learn",
    "torch": "torch",
}
PAGE_MODULE = "nicegui"  # of the extra `page`


class PackagesMissing(Exception):
    """Packages that a part needs are not installed; the message says which, and what installs them."""


def api_command(*arguments: str) -> list[str]:
    """The API server's command line."""
    return [sys.executable, "-m", "app.server", *arguments]


def worker_command(role: str) -> list[str]:
    """A worker's command line."""
    return [sys.executable, "-m", "workers.main", "--role", role]


def page_command(*arguments: str) -> list[str]:
    """The page's command line."""
    return [sys.executable, "-m", "app.page.main", *arguments]


def migrate_command() -> list[str]:
    """The command line that brings the database to this version's schema."""
    return [sys.executable, "-m", "app.cli", "migrate"]


def check_worker_packages() -> None:
    """Raise `PackagesMissing` if workers cannot start here; nothing is imported."""
    missing = [name for module, name in WORKER_MODULES.items() if find_spec(module) is None]
    if missing:
        raise PackagesMissing(
            f"Workers need packages that are not installed: {', '.join(missing)}. "
            f"Install them with: {sys.executable} -m pip install 'recurra-server[worker]'"
        )


def check_page_packages() -> None:
    """Raise `PackagesMissing` if the page cannot start here; nothing is imported."""
    if find_spec(PAGE_MODULE) is None:
        raise PackagesMissing(
            f"The page needs a package that is not installed: {PAGE_MODULE}. "
            f"Install it with: {sys.executable} -m pip install 'recurra-server[page]'"
        )


def exec_command(command: list[str], variables: Mapping[str, str] = MappingProxyType({})) -> NoReturn:
    """Replace this process by a command, so that signals reach it directly.

    The variables are added to the environment.
    """
    os.execve(command[0], command, {**os.environ, **SAFE_PATH, **variables})  # noqa: S606 - our own command lines, no shell
