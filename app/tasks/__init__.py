"""The tasks, found by looking: every module of this package that ends with `TASK = …` is one."""

from importlib import import_module
from pkgutil import iter_modules

from app.tasks.base import Task

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK
    for module in (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    if hasattr(module, "TASK")
}
