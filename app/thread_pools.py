"""Threads beside the event loop: a bounded pool for each kind of work, so that none takes those of others."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from app.errors import DeadlinePassed, QueueFull

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class ThreadPool:
    """Some threads, and a limit on the calls that wait for them."""

    def __init__(self, name: str, threads: int, max_waiting: int) -> None:
        self.threads = threads
        self.capacity = threads + max_waiting
        self._name = name
        self._executor = ThreadPoolExecutor(threads, name)
        self._calls = 0  # that run or wait
        self._lock = threading.Lock()

    async def run(
        self, call: Callable[Arguments, Result], /, *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """The result of a call in one of the threads; raises `QueueFull` where too many wait already.

        A call is never made if its caller is cancelled while it waits.
        """
        with self._lock:
            self.check_room()
            self._calls += 1
        future = self._executor.submit(call, *arguments, **named)
        future.add_done_callback(self._count_down)
        return await asyncio.wrap_future(future)

    async def run_within(
        self,
        seconds: float,
        call: Callable[Arguments, Result],
        /,
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """The same; raises `DeadlinePassed` after `seconds`, whatever the thread still does."""
        try:
            async with asyncio.timeout(seconds):
                return await self.run(call, *arguments, **named)
        except TimeoutError:
            raise DeadlinePassed from None

    def check_room(self) -> None:
        """Raise `QueueFull` where no further call may wait: before much is done for one."""
        if self.full:
            raise QueueFull(f"Too many requests wait for threads ({self._name}).")

    @property
    def full(self) -> bool:
        """Whether no further call finds room."""
        return self._calls >= self.capacity

    @property
    def idle(self) -> bool:
        """Whether no call runs or waits."""
        return not self._calls

    def _count_down(self, ended: "Future[Any]") -> None:
        del ended
        with self._lock:
            self._calls -= 1


# Reads of the database: of jobs, of the versions behind a name, of keys, and of whether the service is ready.
JOB_READS = ThreadPool("job reads", 4, 1024)
VERSION_READS = ThreadPool("version reads", 4, 4096)
KEY_READS = ThreadPool("key reads", 2, 4096)
READINESS = ThreadPool("readiness", 1, 64)
# Changes of models and aliases, which may wait for each other's locks.
MODEL_CHANGES = ThreadPool("model changes", 2, 256)
# Entries of the audit, one for each change.
AUDITS = ThreadPool("audit", 1, 4096)
# Pieces of bodies: written to disk, and unpacked. A client sends the next one when the last is done.
UPLOADED_PIECES = ThreadPool("uploaded pieces", 4, 1024)
UNPACKED_PIECES = ThreadPool("unpacked pieces", 2, 1024)
# Uploads that wait for the child process that reads them.
UPLOADS = ThreadPool("uploads", 4, 64)
# Deletions of files of requests that have ended; they always find room.
CLEANUPS = ThreadPool("clean-ups", 1, 1 << 20)
# Data sets that are fetched from the store to be predicted at once.
DATASET_READS = ThreadPool("data sets", 2, 32)
# What large requests are parsed, encoded and decoded in: few, as they share the interpreter with the loop.
COMPUTING = ThreadPool("computing", 2, 64)
# Tasks that wait for a child process to decode media: they keep nobody else from a thread.
DECODING_MEDIA = ThreadPool("media", 2, 64)
