"""A timer of the operating system: an event loop's own timers are whole milliseconds."""

import asyncio
import ctypes
import os
from collections.abc import Callable
from typing import Any

MONOTONIC, ABSOLUTE, NONBLOCKING = 1, 1, os.O_NONBLOCK
NANOSECONDS = 1_000_000_000


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("value", _Time))


class Alarm:
    """Calls back within tens of microseconds after a time of `time.monotonic()`; Linux only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rang: "Callable[[Alarm], None]") -> None:
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.timerfd_create(MONOTONIC, NONBLOCKING)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop, self._rang = loop, rang
        loop.add_reader(self._file, self._read)

    def set(self, when: float) -> None:
        """Ring at this time, or at once when it is past."""
        at = max(1, round(when * NANOSECONDS))
        setting = _Setting(_Time(0, 0), _Time(at // NANOSECONDS, at % NANOSECONDS))
        self._libc.timerfd_settime(self._file, ABSOLUTE, ctypes.byref(setting), None)

    def _read(self) -> None:
        os.read(self._file, 8)
        self._rang(self)

    def close(self) -> None:
        """Ring no more."""
        self._loop.remove_reader(self._file)
        os.close(self._file)
