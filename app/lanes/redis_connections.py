"""Redis connections for lanes, one async and pipelined, one for a thread.

The client classes of redis-py cost more than the round trip itself. The async connection parses RESP with
hiredis as it arrives and calls back without a task in between; the other drives a connection of redis-py
directly.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

import hiredis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, SSLConnection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from app.infrastructure.redis_failures import REDIS_FAILURES

Command = Sequence[Any]
OnResults = Callable[[list[Any], Exception | None], None]


def encode_commands(commands: Iterable[Command]) -> bytes:
    """Commands as RESP arrays of bulk strings, in one piece.

    `hiredis.pack_command` is about as fast for small requests, but several times slower for large ones: it
    copies their bytes twice more than this single join.
    """
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for part in command:
            blob = part if isinstance(part, bytes) else str(part).encode()
            parts += (b"$%d\r\n" % len(blob), blob, b"\r\n")
    return b"".join(parts)


class _PendingCall:
    """Commands whose results are still to come."""

    __slots__ = ("count", "results", "then", "timer")

    def __init__(self, count: int, then: OnResults) -> None:
        self.count, self.then = count, then
        self.results: list[Any] = []
        self.timer: asyncio.TimerHandle | None = None

    def finish(self, error: Exception | None) -> None:
        """Call back, once; a command that the server refused is an error of the whole call."""
        if self.timer is not None:
            self.timer.cancel()
        refusal = next((result for result in self.results if isinstance(result, hiredis.ReplyError)), None)
        if error is None and refusal is not None:
            error = ResponseError(str(refusal))
        self.then(self.results, error)


class AsyncRedisConnection(asyncio.Protocol):
    """A connection that many callers share: commands leave at once, results come back in order.

    It connects on first use and again after every failure; a failure ends all pending calls.
    """

    def __init__(self, url: str) -> None:
        self._options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._reader = hiredis.Reader()
        self._calls: deque[_PendingCall] = deque()
        self._backlog: list[bytes] = []  # encoded commands that wait for a connection

    def send(self, *commands: Command, then: OnResults, within: float) -> None:
        """Write commands now; `then` gets their results, or a failure after `within` seconds."""
        call = _PendingCall(len(commands), then)
        call.timer = asyncio.get_running_loop().call_later(within, self._time_out)
        self._calls.append(call)
        if self._transport is not None:
            self._transport.write(encode_commands(commands))
            return
        self._backlog.append(encode_commands(commands))
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())

    async def call(self, *commands: Command, within: float) -> list[Any]:
        """Results of commands; raises one of `REDIS_FAILURES`."""
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.send(*commands, then=partial(_resolve, future), within=within)
        return await future

    async def close(self) -> None:
        """Disconnect; pending calls fail."""
        self._disconnect(RedisConnectionError("closed"))

    def _time_out(self) -> None:
        # The connection goes too: a late result would be taken for that of a later call.
        self._disconnect(TimeoutError("no answer in time"))

    async def _connect(self) -> None:
        options, loop = self._options, asyncio.get_running_loop()
        try:
            if path := options.get("path"):
                await loop.create_unix_connection(lambda: self, path)
            else:
                address = options.get("host", "localhost"), options.get("port", 6379)
                await loop.create_connection(lambda: self, *address, ssl=_tls_context(options))
        except OSError as error:
            self._connecting = None
            self._disconnect(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Authenticate and select the database, then write the backlog."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._connecting = None
        self._reader = hiredis.Reader()
        greeting = _greeting(self._options)
        if greeting:
            self._calls.appendleft(_PendingCall(len(greeting), self._greeted))
        self._transport.write(encode_commands(greeting) + b"".join(self._backlog))
        self._backlog.clear()

    def _greeted(self, _: list[Any], error: Exception | None) -> None:
        if isinstance(error, ResponseError):  # a wrong password
            self._disconnect(error)

    def data_received(self, data: bytes) -> None:
        """Hand results to the calls they belong to."""
        self._reader.feed(data)
        while (result := self._reader.gets()) is not False and self._calls:
            call = self._calls[0]
            call.results.append(result)
            if len(call.results) == call.count:
                self._calls.popleft()
                call.finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail all pending calls."""
        self._transport = None
        self._disconnect(exc if isinstance(exc, OSError) else RedisConnectionError("the connection ended"))

    def _disconnect(self, error: Exception) -> None:
        transport, self._transport = self._transport, None
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        if transport is not None:
            transport.set_protocol(asyncio.Protocol())  # so that its end does not call `connection_lost`
            transport.abort()
        self._backlog.clear()
        calls, self._calls = self._calls, deque()
        for call in calls:
            call.finish(error)


def _resolve(future: asyncio.Future[list[Any]], results: list[Any], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(results)
    else:
        future.set_exception(error)


def _greeting(options: dict[str, Any]) -> list[Command]:
    """The first commands of a connection, for the credentials and the database of its URL."""
    commands: list[Command] = []
    if password := options.get("password"):
        name = options.get("username")
        commands.append(("AUTH", name, password) if name else ("AUTH", password))
    if database := options.get("db"):
        commands.append(("SELECT", database))
    return commands


def _tls_context(options: dict[str, Any]) -> ssl.SSLContext | None:
    if options.get("connection_class") is not SSLConnection:
        return None
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class RedisConnection:
    """A blocking connection for one thread; a socket timeout of `within` seconds bounds each read."""

    def __init__(self, url: str, within: float) -> None:
        pool: Any = ConnectionPool.from_url(
            url, socket_timeout=within, socket_connect_timeout=within, retry=Retry(NoBackoff(), 0)
        )
        self._connection = pool.make_connection()
        self._has_answered = False  # since it was last connected
        self._unread = 0  # results of posted commands that are still to be read

    def post(self, *commands: Command) -> None:
        """Write commands without waiting for their results; raises one of `REDIS_FAILURES`."""
        try:
            self._connection.send_packed_command([encode_commands(commands)], check_health=False)
        except BaseException:
            self._disconnect()
            raise
        self._unread += len(commands)

    def call(self, *commands: Command) -> list[Any]:
        """Results of commands sent in one write; raises one of `REDIS_FAILURES`.

        A connection that has worked before may have died unnoticed: its commands are tried once more.
        """
        has_answered = self._has_answered
        try:
            return self._exchange(commands)
        except (ResponseError, RedisTimeoutError):
            raise
        except REDIS_FAILURES:
            if not has_answered:
                raise
        return self._exchange(commands)

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        try:
            connection.send_packed_command([encode_commands(commands)], check_health=False)
            unread, self._unread = self._unread, 0
            results = [_read_result(connection) for _ in range(unread + len(commands))][unread:]
        except BaseException:
            self._disconnect()
            raise
        self._has_answered = True
        for result in results:
            if isinstance(result, ResponseError):
                raise result
        return results

    def _disconnect(self) -> None:
        self._has_answered, self._unread = False, 0
        self._connection.disconnect()

    def close(self) -> None:
        """Disconnect."""
        self._connection.disconnect()


def _read_result(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
