"""Memory: how much there is, how much a process takes, and how one is kept from taking more."""

import ctypes
import gc
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
CGROUP_LIMITS = (  # of a container: version 2 of control groups, then version 1
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
EXPENDABLE = "900"  # of 1000: the kernel ends such a process before any other


def usable_memory() -> int:
    """Return the bytes of memory that this machine has, or this container may take if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *(limit for path in CGROUP_LIMITS if (limit := _read_limit(path)) is not None)])


def _read_limit(path: Path) -> int | None:
    with suppress(OSError, ValueError):  # no such file, or "max"
        return int(path.read_text())
    return None


def private_bytes(pid: int) -> int:
    """Return the bytes of memory that are a process's own; 0 when it is gone, and where nothing says so."""
    return _status_bytes(pid, "RssAnon")


def count_oom_kills() -> int:
    """Return how many processes the kernel has ended for want of memory; 0 where nothing says so."""
    with suppress(OSError):
        lines = (line.split() for line in (PROC / "vmstat").read_text().splitlines())
        return next((int(count) for name, count in lines if name == "oom_kill"), 0)
    return 0


def limit_growth(memory_bytes: int) -> None:
    """Let this process take so much more memory than it has now; then allocations fail. Linux only."""
    if sys.platform == "linux":
        limit = _status_bytes(os.getpid(), "VmData") + memory_bytes
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def freeze_startup_objects() -> None:
    """Collect garbage, and never again look at the objects that there are: for the end of a start-up.

    A full collection of all that libraries make takes some 40 ms, in which a process answers nobody.
    """
    gc.collect()
    gc.freeze()


def return_free_memory() -> None:
    """Give the system back what was freed, and the C library keeps for the next time. glibc only.

    It takes tens of milliseconds for hundreds of MiB, in which threads that allocate may have to wait.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def become_expendable() -> None:
    """Have the kernel end this process before others when memory runs out. Linux only."""
    with suppress(OSError):
        (PROC / "self" / "oom_score_adj").write_text(EXPENDABLE)


def _status_bytes(pid: int, name: str) -> int:
    with suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    return 0
