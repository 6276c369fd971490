"""The child process that decodes media: requests on stdin, arrays on stdout."""

import json
import os
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

import numpy as np

from app.infrastructure.processes import die_with_parent
from app.media.errors import MediaError
from app.media.limits import MediaLimits
from app.media.video import decode_video

DECODERS = {"video": decode_video}
LENGTHS = struct.Struct("<II")


def main() -> None:
    """Answer requests until stdin ends."""
    spec = json.loads(sys.argv[1])
    limits = MediaLimits(**spec["limits"])
    die_with_parent(spec["parent"], signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    source = sys.stdin.buffer
    while header := source.read(LENGTHS.size):
        head, size = LENGTHS.unpack(header)
        request = json.loads(source.read(head))
        answer(output, *decoded(request, source.read(size), limits))


def decoded(request: Any, content: bytes, limits: MediaLimits) -> tuple[Any, dict[str, Any]]:
    """The JSON and the arrays of one file."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + limits.seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    try:
        result = DECODERS[request["kind"]](content, limits, **request["options"])
    except MediaError as error:
        return {"error": str(error)}, {}
    except MemoryError:
        return {"error": "could not be decoded in the memory that one file may take"}, {}
    arrays = {name: value for name, value in result.items() if isinstance(value, np.ndarray)}
    return {"values": {name: value for name, value in result.items() if name not in arrays}}, arrays


def answer(output: BinaryIO, facts: Any, arrays: dict[str, Any]) -> None:
    """Write one answer."""
    shapes = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    head = json.dumps({**facts, "arrays": shapes}).encode()
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    output.write(LENGTHS.pack(len(head), len(body)) + head + body)
    output.flush()


if __name__ == "__main__":
    main()
