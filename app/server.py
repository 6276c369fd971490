"""The API server: `python -m app.server --host … --port …`, or `--fd` for a socket that listens already."""

import argparse
import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.main import create_app

GRACE_SECONDS = 5
IDLE_SECONDS = 75  # of a connection; a client that asks again just then must not find it closing


class Corked:
    """A transport whose writes of one turn of the event loop leave together.

    uvicorn writes a response's head and body one after the other: two system calls, and twice the client is
    woken. Everything but writing and closing is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send at the end of this turn."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Send what is held, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, []
            self._transport.write(b"".join(held))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 over corked connections."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected."""
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]


def run(listener: socket.socket | None, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        create_app,
        factory=True,
        host=host,
        port=port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        access_log=False,
        proxy_headers=False,  # nothing here reads the client's address
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=IDLE_SECONDS,
    )
    # uvicorn's own --fd takes every socket for a Unix one, so TCP_NODELAY stays off: 40 ms on each POST.
    uvicorn.Server(config).run(sockets=None if listener is None else [listener])


def main() -> None:
    """Read where to listen and serve."""
    parser = argparse.ArgumentParser(prog="python -m app.server", description="Run the API server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int, help="a listening socket inherited from the parent")
    asked = parser.parse_args()
    run(None if asked.fd is None else socket.socket(fileno=asked.fd), asked.host, asked.port)


if __name__ == "__main__":
    main()
