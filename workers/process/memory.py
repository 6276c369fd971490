"""Whether a child takes more memory than it may, or was ended by the kernel for want of memory."""

from app.memory import count_oom_kills, private_bytes


class MemoryWatch:
    """Watches one child from its start."""

    def __init__(self, pid: int, limit_bytes: int | None) -> None:
        self._pid, self._limit_bytes = pid, limit_bytes
        self._oom_kills = count_oom_kills()

    @property
    def exceeded(self) -> bool:
        """Whether the child takes more than it may now."""
        return self._limit_bytes is not None and private_bytes(self._pid) > self._limit_bytes

    @property
    def killed(self) -> bool:
        """Whether the kernel has ended a process since; the most expendable one is the child."""
        return count_oom_kills() > self._oom_kills
