"""The tasks, found by looking: every sub-package that exports `TASK` is one."""

from importlib import import_module
from pkgutil import iter_modules

from app.tasks.contract import Task

TASKS: dict[str, Task] = {
    package.TASK.name: package.TASK
    for package in (
        import_module(f"{__name__}.{entry.name}") for entry in iter_modules(__path__) if entry.ispkg
    )
    if hasattr(package, "TASK")
}
