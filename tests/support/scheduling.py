"""Which test process runs which file: only some run those that need the whole service."""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

SERVICE_PROCESSES = 2  # each of which starts `recurra up` once, and imports torch to train
SERVICE = re.compile(r"\bstack: Stack\b")  # the fixture


class ServiceScheduling(LoadFileScheduling):  # type: ignore[misc]
    """Files in their order, those that need the whole service in the first processes, before all others."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Bring the next file that suits the process to the front, and assign it."""
        root, serves = self.config.rootpath, node in self.nodes[:SERVICE_PROCESSES]
        for file in self.workqueue:
            if needs_service(root / file) == serves:
                self.workqueue.move_to_end(file, last=False)
                break
        self._forget_finished(node)
        super()._assign_work_unit(node)

    def _forget_finished(self, node: WorkerController) -> None:
        """Drop the files that a process is done with: all tests of a process are counted after each test."""
        files = self.assigned_work[node]
        for file in [file for file, tests in files.items() if all(tests.values())]:
            del files[file]


@cache
def needs_service(path: Path) -> bool:
    """Whether a file has tests of the service that is shared."""
    return path.is_file() and SERVICE.search(path.read_text()) is not None
