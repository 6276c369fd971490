"""Redis connections for lanes, one async and pipelined, one for a thread.

The client classes of redis-py cost more than the round trip itself. The async side parses RESP with hiredis
as it arrives and calls back without a task in between; the other drives a connection of redis-py directly.
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
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

FAILURES = (RedisError, OSError)  # all that a dead, hung or refusing server can raise

Command = Sequence[Any]
Then = Callable[[list[Any], Exception | None], None]


def packed(commands: Iterable[Command]) -> bytes:
    """Commands as the server reads them (RESP arrays of bulk strings), in one piece."""
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for part in command:
            blob = part if isinstance(part, bytes) else str(part).encode()
            parts += (b"$%d\r\n" % len(blob), blob, b"\r\n")
    return b"".join(parts)


class _Slot:
    """Commands whose answers are still to come."""

    __slots__ = ("answers", "count", "late", "then")

    def __init__(self, count: int, then: Then) -> None:
        self.count, self.then = count, then
        self.answers: list[Any] = []
        self.late: asyncio.TimerHandle | None = None

    def end(self, error: Exception | None) -> None:
        """Call back, once."""
        if self.late is not None:
            self.late.cancel()
        refused = next((one for one in self.answers if isinstance(one, hiredis.ReplyError)), None)
        if error is None and refused is not None:
            error = ResponseError(str(refused))
        self.then(self.answers, error)


class Pipe(asyncio.Protocol):
    """A connection that many callers share: commands leave at once, answers come back in order.

    It connects when it is first used and after every failure; a failure ends all that was under way.
    """

    def __init__(self, url: str) -> None:
        self._options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._reader = hiredis.Reader()
        self._slots: deque[_Slot] = deque()
        self._backlog: list[bytes] = []  # until there is a connection

    def send(self, *commands: Command, then: Then, within: float) -> None:
        """Write commands now; `then` gets their answers, or one of `FAILURES` after `within` seconds."""
        slot = _Slot(len(commands), then)
        slot.late = asyncio.get_running_loop().call_later(within, self._late)
        self._slots.append(slot)
        if self._transport is not None:
            self._transport.write(packed(commands))
            return
        self._backlog.append(packed(commands))
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())

    async def call(self, *commands: Command, within: float) -> list[Any]:
        """Answers of commands; raises one of `FAILURES`."""
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.send(*commands, then=partial(_settle, future), within=within)
        return await future

    async def close(self) -> None:
        """Disconnect."""
        self._drop(RedisConnectionError("closed"))

    def _late(self) -> None:
        self._drop(TimeoutError("no answer in time"))  # what comes later must not be taken for another's

    async def _connect(self) -> None:
        options, loop = self._options, asyncio.get_running_loop()
        try:
            if path := options.get("path"):
                await loop.create_unix_connection(lambda: self, path)
            else:
                where = options.get("host", "localhost"), options.get("port", 6379)
                await loop.create_connection(lambda: self, *where, ssl=_tls(options))
        except OSError as error:
            self._connecting = None
            self._drop(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves, then write what waits."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._connecting = None
        self._reader = hiredis.Reader()
        hello = _introduction(self._options)
        if hello:
            self._slots.appendleft(_Slot(len(hello), self._introduced))
        self._transport.write(packed(hello) + b"".join(self._backlog))
        self._backlog.clear()

    def _introduced(self, _: list[Any], error: Exception | None) -> None:
        if isinstance(error, ResponseError):  # a wrong password
            self._drop(error)

    def data_received(self, data: bytes) -> None:
        """Hand answers to those who wait for them."""
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False and self._slots:
            slot = self._slots[0]
            slot.answers.append(answer)
            if len(slot.answers) == slot.count:
                self._slots.popleft()
                slot.end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what was under way."""
        self._transport = None
        self._drop(exc if isinstance(exc, OSError) else RedisConnectionError("the connection ended"))

    def _drop(self, error: Exception) -> None:
        transport, self._transport = self._transport, None
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        if transport is not None:
            transport.set_protocol(asyncio.Protocol())  # its end is no news
            transport.abort()
        self._backlog.clear()
        slots, self._slots = self._slots, deque()
        for slot in slots:
            slot.end(error)


def _settle(future: asyncio.Future[list[Any]], answers: list[Any], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answers)
    else:
        future.set_exception(error)


def _introduction(options: dict[str, Any]) -> list[Command]:
    hello: list[Command] = []
    if password := options.get("password"):
        name = options.get("username")
        hello.append(("AUTH", name, password) if name else ("AUTH", password))
    if database := options.get("db"):
        hello.append(("SELECT", database))
    return hello


def _tls(options: dict[str, Any]) -> ssl.SSLContext | None:
    if options.get("connection_class") is not SSLConnection:
        return None
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Link:
    """The same for one thread: a socket timeout bounds each read."""

    def __init__(self, url: str, within: float) -> None:
        pool: Any = ConnectionPool.from_url(
            url, socket_timeout=within, socket_connect_timeout=within, retry=Retry(NoBackoff(), 0)
        )
        self._connection = pool.make_connection()
        self._proven = False
        self._owed = 0  # answers of commands that were posted

    def post(self, *commands: Command) -> None:
        """Write commands whose answers nobody needs; raises one of `FAILURES`."""
        try:
            self._connection.send_packed_command([packed(commands)], check_health=False)
        except BaseException:
            self._disconnect()
            raise
        self._owed += len(commands)

    def call(self, *commands: Command) -> list[Any]:
        """Answers of commands sent in one write; raises one of `FAILURES`."""
        proven = self._proven
        try:
            return self._exchange(commands)
        except (ResponseError, RedisTimeoutError):
            raise
        except FAILURES:
            if not proven:
                raise
        return self._exchange(commands)

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        try:
            connection.send_packed_command([packed(commands)], check_health=False)
            owed, self._owed = self._owed, 0
            answers = [_read(connection) for _ in range(owed + len(commands))][owed:]
        except BaseException:
            self._disconnect()
            raise
        self._proven = True
        return _accepted(answers)

    def _disconnect(self) -> None:
        self._proven, self._owed = False, 0
        self._connection.disconnect()

    def close(self) -> None:
        """Disconnect."""
        self._connection.disconnect()


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _accepted(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    return answers
