"""The tasks, found by looking: every sub-package with a module `task` is one, of its own name."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

from app.tasks.contract import Task


class Tasks(Mapping[str, Task]):
    """Tasks by name, each loaded when it is first asked for: most processes need one of them, or none."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._loaded: dict[str, Task] = {}

    def __getitem__(self, name: str) -> Task:
        if name not in self._loaded:
            if name not in self._names:
                raise KeyError(name)
            task: Task = import_module(f"{__name__}.{name}").TASK
            if task.name != name:
                raise ValueError(f"the task of package {name} calls itself {task.name}")
            self._loaded[name] = task
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


TASKS: Mapping[str, Task] = Tasks(
    sorted(path.parent.name for path in Path(__file__).parent.glob("*/task.py"))
)
