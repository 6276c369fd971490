"""The API server: `python -m app.server --host … --port …`, or `--fd` for a socket that already listens."""

import argparse
import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.infrastructure import logs
from app.infrastructure.processes import keep_files_private
from app.main import create_app

SHUTDOWN_SECONDS = 5
KEEP_ALIVE_SECONDS = 75  # longer than clients keep an idle connection, so that they close it first


class CoalescingTransport:
    """A transport that joins the writes of one turn of the event loop into one.

    uvicorn writes the head and the body of a response one after the other, which costs two system calls and
    wakes the client twice. Everything except `write` and `close` is delegated to the wrapped transport.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._pending: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send the data at the end of this turn of the event loop."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def close(self) -> None:
        """Send pending data, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pending:
            pending, self._pending = self._pending, []
            self._transport.write(b"".join(pending))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CoalescingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol over coalescing transports."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the transport of a new connection."""
        super().connection_made(CoalescingTransport(transport, self.loop))  # type: ignore[arg-type]


def run(listener: socket.socket | None, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        create_app,
        factory=True,
        host=host,
        port=port,
        loop="uvloop",
        http=CoalescingProtocol,
        ws="websockets-sansio",
        access_log=False,
        log_config=None,  # its lines go through the root logger, as all others
        proxy_headers=False,  # nothing here reads the client's address
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    # uvicorn's own --fd takes every socket for a Unix one, so TCP_NODELAY stays off: 40 ms on each POST.
    uvicorn.Server(config).run(sockets=None if listener is None else [listener])


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m app.server", description="Run the API server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int, help="a listening socket inherited from the parent")
    arguments = parser.parse_args()
    logs.configure_process()
    keep_files_private()
    listener = None if arguments.fd is None else socket.socket(fileno=arguments.fd)
    run(listener, arguments.host, arguments.port)


if __name__ == "__main__":
    main()
