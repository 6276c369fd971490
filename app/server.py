"""The API server: `python -m app.server --host … --port …`, or `--fd` for a socket that already listens."""

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from app.api.forwarding.forwarder import LargeRequestForwarder
from app.api.forwarding.process import LargeRequestProcess
from app.connections import (
    BODY_SECONDS,
    HEAD_SECONDS,
    MIN_BODY_BYTES,
    READING_SECONDS,
    ConnectionLimits,
    Connections,
    limits_within,
    raise_descriptor_limit,
)
from app.infrastructure import logs
from app.infrastructure.processes.exposure import Exposed, check_exposure
from app.infrastructure.processes.managed import die_with_parent, keep_files_private
from app.main import ProcessGroup, create_app
from app.memory import freeze_startup_objects
from app.settings import KEYS, Settings

SHUTDOWN_SECONDS = 5
MAX_JOINED_BYTES = 1 << 18  # more is sent as it came: to join it would take longer than a system call
SWITCH_SECONDS = 0.001  # after which a thread that computes lets the event loop go on
BACKLOG = 2048  # connections that the system holds until they are accepted
KEEP_ALIVE_SECONDS = 75  # longer than clients keep an idle connection, so that they close it first
LARGE_REQUESTS = "large-requests"  # the process's name in metrics, and how the name of its socket begins
LARGE_SOCKET_BYTES = 32  # of the name of its socket, which has a process id
LARGE_NICENESS = 10  # of its process: where cores are short, small requests come first
LARGE_SHARE = 0.75  # of the memory for reading files that is for large ones
HUNG_SECONDS = 60  # one of several processes that doesn't answer its parent for so long is replaced


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
            if sum(map(len, pending)) <= MAX_JOINED_BYTES:
                pending = [b"".join(pending)]
            for data in pending:
                self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CoalescingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol over coalescing transports."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the transport of a new connection."""
        super().connection_made(CoalescingTransport(transport, self.loop))  # type: ignore[arg-type]


class BoundedProtocol(CoalescingProtocol):
    """The same for a limited number of connections, whose clients have to send and to read in time."""

    def __init__(self, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._connections = connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, where there is room for the connection."""
        now = self.loop.time()
        self._head_since: float | None = None
        self._idle_since: float | None = now  # since the last answer, or the beginning
        self._body_since, self._body_bytes = now, 0  # of the present period
        self._unread, self._unread_since = 0, now  # bytes of the answer, and since when as many
        super().connection_made(transport)
        if not self._connections.admit(self):
            self._answer_and_close(503, "too-many-connections", "There is no room for another connection.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another connection."""
        self._connections.remove(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to the protocol of WebSockets, which looks after it by pings."""
        self._connections.remove(self)
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        super().on_message_begin()
        self._head_since, self._idle_since = self.loop.time(), None

    def on_headers_complete(self) -> None:
        """Begin to wait for the body."""
        super().on_headers_complete()
        self._head_since = None
        self._body_since, self._body_bytes = self.loop.time(), 0

    def on_body(self, body: bytes) -> None:
        """Count what has come of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Begin to wait for another request."""
        super().on_response_complete()
        if not self.pipeline:
            self._idle_since = self.loop.time()

    @property
    def client_address(self) -> str:
        """The address of the client; empty over a Unix socket."""
        return self.client[0] if self.client else ""

    @property
    def waiting_since(self) -> float | None:
        """When the server began to wait for the client; None where the client waits."""
        if self._waits_for_body():
            return self._body_since
        return self._idle_since or self._head_since

    def check(self, now: float) -> None:
        """Close the connection if its client takes too long."""
        if self.transport.is_closing():
            return
        self._check_reader(now)
        if self._waits_for_body():
            if now - self._body_since > BODY_SECONDS:
                if self._body_bytes < MIN_BODY_BYTES:
                    self._time_out("The body of the request comes too slowly.")
                self._body_since, self._body_bytes = now, 0
            return
        self._body_since, self._body_bytes = now, 0
        if self._head_since is not None and now - self._head_since > HEAD_SECONDS:
            self._time_out("The head of the request comes too slowly.")
        elif self._idle_since is not None and now - self._idle_since > KEEP_ALIVE_SECONDS + 1:
            self.transport.close()  # one that sends on after its answer, for example

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem, too."""
        self._answer_and_close(400, "bad-request", msg)

    def evict(self) -> None:
        """Close the connection, as others need the room."""
        self.transport.abort()

    def _waits_for_body(self) -> bool:
        cycle = self.cycle
        is_open = cycle is not None and cycle.more_body and not cycle.response_complete
        return is_open and not self.flow.read_paused

    def _check_reader(self, now: float) -> None:
        unread = self.transport.get_write_buffer_size()
        if not unread or unread != self._unread:
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since > READING_SECONDS:
            self.transport.abort()

    def _time_out(self, detail: str) -> None:
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._answer_and_close(408, "request-timeout", detail)
        else:
            self.transport.abort()

    def _answer_and_close(self, status: int, code: str, detail: str) -> None:
        """Answer with a problem, as no route gets to see the request."""
        title = HTTPStatus(status).phrase
        problem = {"type": f"/problems/{code}", "title": title, "status": status, "detail": detail}
        content = json.dumps(problem | {"request_id": "", "errors": []}).encode()
        more = "retry-after: 1\r\n" if status == 503 else ""
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(content)}\r\n{more}connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()


class ProtocolFactory:
    """Makes the protocols of a server's connections, which have limits in common."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.connections = Connections(limits)

    def __call__(self, **arguments: Any) -> BoundedProtocol:
        """The protocol of a new connection; uvicorn has the arguments."""
        return BoundedProtocol(self.connections, **arguments)


def make_app(settings: Settings) -> ASGIApp:
    """The application of this process, which leaves large requests to another."""
    sys.setswitchinterval(SWITCH_SECONDS)
    own = os.getpid()
    group = ProcessGroup(own, lambda pid: "" if pid == own else LARGE_REQUESTS)
    app = create_app(_with_memory(settings, 1 - LARGE_SHARE), group)
    process = LargeRequestProcess(f"{settings.socket_prefix(LARGE_SOCKET_BYTES)}{LARGE_REQUESTS}-")
    freeze_startup_objects()
    return LargeRequestForwarder(app, process, app.deadline_of)


def make_large_request_app(leader: int, settings: Settings) -> ASGIApp:
    """The application of the process for large requests, which ends with the one that forwards them."""
    os.nice(LARGE_NICENESS)
    return make_process_app(leader, _with_memory(settings, LARGE_SHARE))


def make_process_app(leader: int, settings: Settings) -> ASGIApp:
    """The application of one of several processes, which ends with the leader of their group."""
    logs.configure_process()
    die_with_parent(leader)
    sys.setswitchinterval(SWITCH_SECONDS)
    app = create_app(settings, ProcessGroup(leader))
    freeze_startup_objects()
    return app


def _with_memory(settings: Settings, share: float) -> Settings:
    """The same settings with a share of the memory that is for all processes of this host together."""
    return settings.model_copy(update={"ingest_memory_bytes": int(settings.ingest_memory_bytes * share)})


def make_config(make: Callable[[], ASGIApp], http: type[asyncio.Protocol], **options: Any) -> uvicorn.Config:
    """How an application is served, in every process."""
    return uvicorn.Config(
        make,
        factory=True,
        loop="uvloop",
        http=http,
        backlog=BACKLOG,
        access_log=False,
        log_config=None,  # its lines go through the root logger, as all others
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        **options,
    )


def run(listener: socket.socket | None, host: str, port: int, processes: int = 1) -> None:
    """Serve until SIGTERM or SIGINT; several processes accept connections from one socket."""
    settings, descriptors = Settings(), raise_descriptor_limit()
    limits = limits_within(descriptors, settings.max_connections, settings.max_client_connections)
    share = _with_memory(settings, 1 / processes)
    config = make_config(
        partial(make_app, settings) if processes == 1 else partial(make_process_app, os.getpid(), share),
        ProtocolFactory(limits),  # type: ignore[arg-type]
        host=host,
        port=port,
        ws="websockets-sansio",
        proxy_headers=False,  # a client may say what it likes
        workers=processes,
        timeout_worker_healthcheck=HUNG_SECONDS,
    )
    # uvicorn's own --fd takes every socket for a Unix one, so TCP_NODELAY stays off: 40 ms on each POST.
    if processes == 1:
        uvicorn.Server(config).run(sockets=None if listener is None else [listener])
    else:
        Multiprocess(config, [listener or config.bind_socket()]).run()


def run_large_requests(listener: socket.socket, leader: int) -> None:
    """Serve what the process `leader` forwards; that one bounds its clients and connections."""
    config = make_config(
        partial(make_large_request_app, leader, Settings()),
        CoalescingProtocol,
        ws="none",
        proxy_headers=True,
        forwarded_allow_ips="*",  # only the leader can connect
    )
    uvicorn.Server(config).run(sockets=[listener])


def address_of(listener: socket.socket) -> str:
    """The address that a socket listens on; empty for a Unix socket."""
    return "" if listener.family == socket.AF_UNIX else str(listener.getsockname()[0])


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m app.server", description="Run the API server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--insecure", action="store_true", help="answer other machines without keys")
    parser.add_argument("--fd", type=int, help="a listening socket inherited from the parent")
    parser.add_argument("--large-requests-of", type=int, help="serve what a process forwards")
    arguments = parser.parse_args()
    logs.configure_process()
    keep_files_private()
    listener = None if arguments.fd is None else socket.socket(fileno=arguments.fd)
    if arguments.large_requests_of is not None and listener is not None:
        run_large_requests(listener, arguments.large_requests_of)
        return
    try:
        check_exposure(
            arguments.host if listener is None else address_of(listener),
            needs_keys=Settings().auth == KEYS,
            insecure=arguments.insecure,
        )
    except Exposed as error:
        sys.exit(str(error))
    run(listener, arguments.host, arguments.port, arguments.processes)


if __name__ == "__main__":
    main()
