"""Decodes media files in child processes that are started when they are needed and replaced when they die."""

import atexit
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from functools import cache
from pathlib import Path
from queue import LifoQueue
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from app.infrastructure.processes.managed import confined_environment
from app.media.errors import DecoderLost, MediaError
from app.media.limits import MediaLimits
from app.media.wire import OUT_OF_MEMORY, read_message, unpack_result, write_message
from app.typedefs import Json

log = logging.getLogger(__name__)

MAX_DECODERS = 2  # children of a process that decode at the same time
START_SECONDS = 30.0  # for the child to begin, beside the time for the file
CODE_ROOT = Path(__file__).resolve().parents[2]
UNDECODABLE = "could not be decoded"
TRIALS = 2  # children that may be lost with a file until its caller is told to come back
# How a child ends that a file has brought down, or that has computed for too long: it is so each time.
CRASHES = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGSYS,
}
TIME_LIMITS = {signal.SIGXCPU, signal.SIGALRM}


class MediaDecoder:
    """Decodes one file at a time, for any thread; to be closed, or used as a context manager.

    Its limits are by default those of the process, see `limit_decoding`.
    """

    def __init__(self, limits: MediaLimits | None = None) -> None:
        self._limits = limits or process_decoder().limits
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._child.pid if self._child is not None else None

    @property
    def limits(self) -> MediaLimits:
        """What one file may take and contain."""
        return self._limits

    def limit(self, limits: MediaLimits) -> None:
        """Keep to these limits from the next file on."""
        with self._lock:
            if limits != self._limits:
                self._limits = limits
                self._stop()

    def close(self) -> None:
        """End the child; the next file starts another."""
        with self._lock:
            self._stop()

    def decode(self, kind: str, content: bytes, options: Json) -> dict[str, Any]:
        """Arrays and JSON values of a file of a kind: audio, video or midi.

        Raises `MediaError` for what is wrong with the file, and `DecoderLost` where children were ended by
        others than the file.
        """
        if len(content) > self._limits.file_bytes:
            raise MediaError(f"has more than {self._limits.file_bytes:,} bytes")
        with self._lock:
            if self._owner != os.getpid():  # after a fork the pipes belong to the other process
                self._child, self._owner = None, os.getpid()
            header, body = self._converse({"kind": kind, "options": options}, content)
        if "error" in header:
            if "cause" in header:
                log.info("%s %s: %s", kind, header["error"], header["cause"])
            raise MediaError(header["error"])
        return unpack_result(header, body)

    def _converse(self, request: Json, content: bytes) -> tuple[Json, bytearray]:
        """The reply to a request, if need be of a second child; raises `MediaError` and `DecoderLost`."""
        for _ in range(TRIALS):
            try:
                return self._exchange(self._running(), request, content)
            except (EOFError, OSError) as error:
                if (fault := self._fault_of_file(error)) is not None:
                    raise fault from None
            except BaseException:  # an interrupted exchange would leave half a message in the pipes
                self._stop()
                raise
        raise DecoderLost

    def _running(self) -> "subprocess.Popen[bytes]":
        """The child, newly started where there is none or the last one died while it was idle."""
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._stop()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "app.media.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=confined_environment(),
            cwd=CODE_ROOT,  # where `-m` looks first: the child has the code of its parent
        )  # no session of its own: whoever kills the group of this process ends the child as well
        write_message(cast("BinaryIO", self._child.stdin), asdict(self._limits))
        return self._child

    def _exchange(
        self, child: "subprocess.Popen[bytes]", request: Json, content: bytes
    ) -> tuple[Json, bytearray]:
        """Send a file and wait for the reply; raises `EOFError` or `OSError` where the child died.

        Raises `MediaError` where the reply takes too long.
        """
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            child.kill()

        timer = threading.Timer(3 * self._limits.seconds + START_SECONDS, end)
        timer.daemon = True
        timer.start()
        try:
            write_message(cast("BinaryIO", child.stdin), request, [content] if content else [])
            return read_message(cast("BinaryIO", child.stdout))
        except (EOFError, OSError):
            if not overdue.is_set():
                raise
            raise MediaError(self._limits.time_exceeded) from None
        finally:
            timer.cancel()

    def _fault_of_file(self, error: Exception) -> MediaError | None:
        """The fault of the file if it brought the child down; None if it was others, or no child began."""
        child = self._child
        self._stop()
        status = child.returncode if child is not None else None
        log.warning("the decoding child ended with status %s: %r", status, error)
        if status is None:
            return None
        if -status in TIME_LIMITS:
            return MediaError(self._limits.time_exceeded)
        if -status in CRASHES:
            return MediaError(UNDECODABLE)
        return MediaError(self._limits.memory_exceeded) if status == OUT_OF_MEMORY else None

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:  # it died with bytes left to write
                pass
        try:
            child.wait(timeout=1)  # at the end of its input it ends by itself
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class DecoderPool:
    """Decodes a few files at a time, for any thread; a child is only started when all others are busy."""

    def __init__(self, limits: MediaLimits) -> None:
        self._decoders = [MediaDecoder(limits) for _ in range(MAX_DECODERS)]
        self._start()

    def _start(self) -> None:
        self._owner = os.getpid()
        self._idle = LifoQueue[MediaDecoder]()  # the last one that was used is warm
        for decoder in reversed(self._decoders):
            self._idle.put(decoder)

    @property
    def limits(self) -> MediaLimits:
        """What one file may take and contain."""
        return self._decoders[0].limits

    @property
    def pids(self) -> list[int]:
        """The process ids of the children."""
        return [decoder.pid for decoder in self._decoders if decoder.pid is not None]

    def limit(self, limits: MediaLimits) -> None:
        """Keep to these limits from the next file on."""
        for decoder in self._decoders:
            decoder.limit(limits)

    def close(self) -> None:
        """End the children; the next file starts another."""
        for decoder in self._decoders:
            decoder.close()

    def decode(self, kind: str, content: bytes, options: Json) -> dict[str, Any]:
        """As `MediaDecoder.decode`, waiting for a decoder that is idle."""
        if self._owner != os.getpid():  # after a fork those that were busy would never come back
            self._decoders = [MediaDecoder(self.limits) for _ in range(MAX_DECODERS)]
            self._start()
        decoder = self._idle.get()
        try:
            return decoder.decode(kind, content, options)
        finally:
            self._idle.put(decoder)


Decoder = MediaDecoder | DecoderPool


@cache
def process_decoder() -> DecoderPool:
    """The decoders that all requests of this process share."""
    pool = DecoderPool(MediaLimits())
    atexit.register(pool.close)
    return pool


def limit_decoding(limits: MediaLimits) -> None:
    """Have the decoders of this process, and all that are made without other limits, keep to these."""
    process_decoder().limit(limits)
