"""A call as a request of httpx, with its file opened for one attempt."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from recurra.errors import InvalidInput
from recurra.protocol.steps import Call, UploadProgress


class ProgressFile(io.FileIO):
    """A file that reports how many bytes are read from it."""

    def __init__(self, path: Path, progress: UploadProgress | None) -> None:
        super().__init__(path)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes, and report how many."""
        data = super().read(size) or b""
        if self._progress is not None:
            self._progress(len(data))
        return data


def build_request(
    http: httpx.Client | httpx.AsyncClient, call: Call, content: dict[str, Any]
) -> httpx.Request:
    """The request of a call; raises `InvalidInput` if its content is not JSON, such as infinity."""
    timeout = content.pop("timeout", httpx.USE_CLIENT_DEFAULT)
    try:
        return http.build_request(call.method, call.path, timeout=timeout, **content)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the request cannot be written as JSON: {error}") from None


@contextmanager
def form_with_file(call: Call) -> Iterator[dict[str, Any]]:
    """A new dictionary of the call's arguments for httpx, within which its file is open."""
    if call.file is None:
        yield dict(call.content)
        return
    with ProgressFile(call.file.path, call.file.progress) as file:
        yield {**call.content, "files": {"file": (call.file.name, file)}}
