"""A training child for the fault tests: seeds of certain numbers make it die, hang or stop.

It trains like any other when its seed means nothing.
"""

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Any

from tests.faults.jobs.switches import OFF, put
from workers.process import child as reporting
from workers.process import lifeline
from workers.training import child, loop

DIES, HANGS, STOPS = 6001, 6002, 6003  # seeds


def afflict(seed: int) -> None:
    """What befalls a training whose seed means something, once it has done its first steps."""
    match seed:
        case 6001:
            os.kill(os.getpid(), signal.SIGKILL)
        case 6002:
            ctypes.PyDLL(None).sleep(10_000)  # in C, and holding the GIL: no thread of this process runs
        case 6003:
            os.kill(os.getpid(), signal.SIGSTOP)


def work(request: dict[str, Any], on: Callable[..., None], should_stop: Callable[[], bool]) -> dict[str, Any]:
    seed = int(request["spec"]["training"]["seed"])

    def told(message: dict[str, Any]) -> None:
        on(message)
        if message["type"] == "epoch":
            afflict(seed)

    return child.work(request, told, should_stop)


def outlive() -> None:
    """The kernel does not end this process when its supervisor dies."""
    put(lifeline, die_with_parent=lambda *_: None)


def forget_moments() -> None:
    """A checkpoint brings the weights back, but not what the optimiser knew."""
    put(loop, restore_optimizer=lambda *_: None)


SAFEGUARDS = {"parent_death": outlive, "whole_snapshot": forget_moments}


def main() -> None:
    if (off := os.environ.get(OFF, "")) in SAFEGUARDS:
        SAFEGUARDS[off]()
    reporting.run_work(work, child.failure)


if __name__ == "__main__":
    main()
