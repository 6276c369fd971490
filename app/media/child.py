"""The process that decodes media files: requests on stdin, results on stdout, until stdin ends."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib import import_module  # only the libraries of the kinds that are decoded are loaded
from pathlib import Path
from typing import Any, BinaryIO

from app.media.errors import MediaError
from app.media.limits import MediaLimits
from app.media.wire import OUT_OF_MEMORY, pack_result, read_message, write_message
from app.typedefs import Json

KINDS = ("audio", "video", "midi")
Decode = Callable[..., dict[str, Any]]


def main() -> None:
    """Decode one file after the other; the first message has the limits."""
    try:
        _decode_all()
    except MemoryError:  # while a file was received or its result sent: the pipes hold half a message
        sys.exit(OUT_OF_MEMORY)


def _decode_all() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which may need it to the end
    requests, replies = _own_pipes()
    limits = MediaLimits(**read_message(requests)[0])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    loaded: dict[str, Decode] = {}
    while True:
        try:
            request, content = read_message(requests)
        except EOFError:
            return
        kind = request["kind"]
        if kind not in loaded:
            loaded[kind] = _load(kind)
            confine_memory(limits.memory_bytes)
        file = bytes(content)
        del content
        reply, parts = _decode(loaded[kind], file, limits, request["options"])
        del file
        write_message(replies, reply, parts)


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Stdin and stdout for messages alone: what a library prints goes to stderr."""
    requests, replies = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, replies


def _load(kind: str) -> Decode:
    if kind not in KINDS:
        raise ValueError(f"there is no kind {kind}")
    decode: Decode = getattr(import_module(f"app.media.{kind}"), f"decode_{kind}")
    return decode


def confine_memory(memory_bytes: int) -> None:
    """Limit the address space to so much more than is in use now; no effect on macOS."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)


def confine_time(seconds: float) -> None:
    """End this process when it has computed for so long from now, or has taken three times as long."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1)
    signal.alarm(int(3 * seconds) + 1)


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _decode(decode: Decode, content: bytes, limits: MediaLimits, options: Json) -> tuple[Json, list[Any]]:
    """The reply to one request; nothing in a file makes this raise."""
    confine_time(limits.seconds)
    try:
        header, parts = pack_result(decode(content, limits, **options))
    except MediaError as error:
        return {"error": str(error)}, []
    except MemoryError:
        return {"error": limits.memory_exceeded}, []
    except Exception as error:  # noqa: BLE001 - damaged files make libraries raise anything
        return {"error": "could not be decoded", "cause": f"{type(error).__name__}: {error}"}, []
    else:
        return header, parts
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    main()
