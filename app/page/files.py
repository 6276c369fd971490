"""Files on their way: streamed to disk, known by random tokens, deleted after a while."""

import mimetypes
import secrets
import tempfile
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from app.errors import TooLarge
from app.infrastructure.disk import check_free

MAX_FILES = 64  # at a time; the oldest goes first
MAX_AGE_SECONDS = 3_600.0
NOTATION = "midi"  # of which browsers know no sound
PLAYED = ("audio/", "video/")  # what browsers are sent: nothing that could run in the page


@dataclass(frozen=True)
class ReceivedFile:
    """A file that has arrived."""

    path: Path
    name: str
    size: int  # bytes
    received: float  # time.monotonic()

    @property
    def token(self) -> str:
        """By which the file is known."""
        return self.path.name

    @property
    def media_type(self) -> str:
        """The kind of sound or of moving pictures by its name; empty for what a browser does not play."""
        kind = mimetypes.guess_type(self.name)[0] or ""
        return kind if kind.startswith(PLAYED) and NOTATION not in kind else ""


class ReceivedFiles:
    """The files of all visitors, each of at most `max_bytes`, in a directory that ends with the process."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._directory = tempfile.TemporaryDirectory(prefix="recurra-page-")
        self._files: OrderedDict[str, ReceivedFile] = OrderedDict()

    async def receive(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Write a file to disk as it comes; returns its token. Raises `TooLarge` and `NoSpace`."""
        self._expire()
        token = secrets.token_urlsafe(24)
        path = Path(self._directory.name) / token
        try:
            size = await self._write(path, chunks)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._files[token] = ReceivedFile(path, Path(name).name[:255] or "file", size, time.monotonic())
        return token

    async def store(self, name: str, content: bytes) -> ReceivedFile:
        """The same for content that is there."""

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        return self._files[await self.receive(name, chunks())]

    async def _write(self, path: Path, chunks: AsyncIterator[bytes]) -> int:
        size = 0
        with path.open("wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self.max_bytes:
                    raise TooLarge(f"A file may have at most {self.max_bytes:,} bytes")
                check_free(path.parent, len(chunk))
                await run_in_threadpool(file.write, chunk)
        return size

    def get(self, token: str) -> ReceivedFile | None:
        """The file of a token; None once it is gone."""
        return self._files.get(token)

    def remove(self, token: str) -> None:
        """Delete a file."""
        if (file := self._files.pop(token, None)) is not None:
            file.path.unlink(missing_ok=True)

    def _expire(self) -> None:
        for token, file in list(self._files.items()):
            if len(self._files) >= MAX_FILES or time.monotonic() - file.received > MAX_AGE_SECONDS:
                self.remove(token)

    def close(self) -> None:
        """Delete all files."""
        self._directory.cleanup()
