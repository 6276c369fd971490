"""Processes that accept connections from one socket, and a text that they ask each other for."""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0  # that a process waits for another's text


class Siblings:
    """This process among those that serve together; each listens on a Unix socket of its own.

    Any of them may be asked for what belongs to all, such as metrics.
    """

    def __init__(self, prefix: str, text: Callable[[str], bytes], name: Callable[[int], str] = str) -> None:
        """`prefix` is how the paths of all their sockets begin, before process ids; `text` is of a topic.

        `name` is what the process with an id is called.
        """
        self._prefix, self._text, self._name = prefix, text, name
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; the directory is made for this user alone. Raises `OSError` if it is another's."""
        path = self._path(os.getpid())
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_uid != os.getuid():
            raise PermissionError(f"{path.parent} is not a directory of this user")
        self._server = await asyncio.start_unix_server(self._answer, path)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._path(os.getpid()).unlink(missing_ok=True)

    async def texts(self, topic: str) -> dict[str, bytes]:
        """The text of each process about a topic, if it answers in time, by the process's name."""
        own = self._path(os.getpid())
        group = own.stem.removesuffix(str(os.getpid()))
        pids = sorted(int(path.stem.removeprefix(group)) for path in own.parent.glob(f"{group}*.sock"))
        others = [pid for pid in pids if pid != os.getpid()]
        answers = await asyncio.gather(*(self._ask(pid, topic) for pid in others))
        pairs = zip(others, answers, strict=True)
        known = {self._name(pid): text for pid, text in pairs if text is not None}
        return known | {self._name(os.getpid()): self._text(topic)}

    def _path(self, pid: int) -> Path:
        return Path(f"{self._prefix}{pid}.sock")

    async def _ask(self, pid: int, topic: str) -> bytes | None:
        path = self._path(pid)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(f"{topic}\n".encode())
                    return await reader.read(-1)
                finally:
                    writer.close()
        except (ConnectionRefusedError, FileNotFoundError):  # it was killed
            path.unlink(missing_ok=True)
        except (OSError, TimeoutError) as error:
            logger.warning("process %d does not say its metrics: %r", pid, error)
        return None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                topic = (await reader.readline()).decode().rstrip("\n")
            writer.write(self._text(topic))
            await writer.drain()
        writer.close()
