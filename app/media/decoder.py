"""Decodes media in a child process with limits."""

import atexit
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from functools import cache
from typing import Any, Self

import numpy as np

from app.media.child import LENGTHS
from app.media.errors import MediaError
from app.media.limits import MediaLimits
from app.typedefs import Json


class MediaDecoder:
    """Sends files to a child process, which is started when it is needed and again after it died."""

    def __init__(self, limits: MediaLimits = MediaLimits()) -> None:  # noqa: B008
        self._limits, self._lock = limits, threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def decode(self, kind: str, content: bytes, options: Json) -> dict[str, Any]:
        """The arrays and values of a file; raises `MediaError`."""
        with self._lock:
            try:
                return self._ask(kind, content, options)
            except (OSError, EOFError):
                self._stop()
                raise MediaError("could not be decoded") from None

    def _ask(self, kind: str, content: bytes, options: Json) -> dict[str, Any]:
        child = self._running()
        assert child.stdin is not None  # noqa: S101
        assert child.stdout is not None  # noqa: S101
        head = json.dumps({"kind": kind, "options": options}).encode()
        child.stdin.write(LENGTHS.pack(len(head), len(content)) + head + content)
        child.stdin.flush()
        lengths = child.stdout.read(LENGTHS.size)
        if len(lengths) < LENGTHS.size:
            raise EOFError
        head_size, size = LENGTHS.unpack(lengths)
        facts, body, offset = json.loads(child.stdout.read(head_size)), child.stdout.read(size), 0
        if "error" in facts:
            raise MediaError(facts["error"])
        result: dict[str, Any] = dict(facts["values"])
        for name, (dtype, shape) in facts["arrays"].items():
            count = int(np.prod(shape))
            result[name] = np.frombuffer(body, dtype, count, offset).reshape(shape)
            offset += result[name].nbytes
        return result

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._child is None or self._child.poll() is not None:
            spec = json.dumps({"limits": asdict(self._limits), "parent": os.getpid()})
            self._child = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "app.media.child", spec],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
        return self._child


@cache
def process_decoder() -> MediaDecoder:
    """The decoder of this process, closed when it ends."""
    decoder = MediaDecoder()
    atexit.register(decoder.close)
    return decoder
