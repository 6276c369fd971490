"""A server that answers at once, whatever comes: how much the load generator can do at most.

`python -m benchmarks.serving.generator.echo PORT CORPUS` answers a request with its body's expected output.
"""

import asyncio
import sys
from pathlib import Path
from typing import cast

import orjson
import uvloop

from benchmarks.serving.generator.messages import Expected, load_corpus

BLANK = b"\r\n\r\n"


class Echo(asyncio.Protocol):
    """One connection; a request is known by its body."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to write."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Answer as soon as a known body is whole."""
        self._buffer += data
        head, _, body = self._buffer.partition(BLANK)
        answer = self._answers.get(body)
        if answer is not None:
            self._buffer = b""
            self._transport.write(answer)
        elif head.startswith(b"GET"):
            self._buffer = b""
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def answer(output: Expected) -> bytes:
    """A whole reply."""
    if isinstance(output, dict):
        body = orjson.dumps({"predictions": [output]})
    else:
        tensor = {"name": "outputs", "shape": [1, len(output)], "datatype": "FP32", "data": output}
        body = orjson.dumps({"outputs": [tensor]})
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def serve(port: int, path: Path) -> None:
    """Until the process is ended."""
    corpus = load_corpus(path)
    answers = dict(zip(corpus.bodies, map(answer, corpus.outputs), strict=True))
    server = await asyncio.get_running_loop().create_server(lambda: Echo(answers), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
