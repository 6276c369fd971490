"""One Redis connection each, async and sync: a command or a pipeline, a deadline, and one silent reconnect.

The client classes of redis-py cost more than the round trip itself, so these drive its connections directly.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import ConnectionPool as AsyncPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

FAILURES = (RedisError, OSError)  # all that a dead, hung or refusing server can raise

Command = Sequence[Any]


class AsyncLink:
    """A connection that one coroutine at a time uses; connects on demand and after every failure."""

    def __init__(self, url: str) -> None:
        pool: Any = AsyncPool.from_url(
            url, socket_timeout=None, socket_connect_timeout=None, retry=AsyncRetry(NoBackoff(), 0)
        )
        self._connection = pool.make_connection()
        self._proven = False  # it has answered since it was last connected

    async def call(self, *commands: Command, within: float) -> list[Any]:
        """Answers of commands sent in one write; raises one of `FAILURES` within so many seconds."""
        async with asyncio.timeout(within):
            proven = self._proven
            try:
                return await self._exchange(commands)
            except ResponseError:
                raise
            except FAILURES:
                if not proven:
                    raise
            return await self._exchange(commands)  # the server had restarted while this connection was idle

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        try:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            answers = [await _answer(connection) for _ in commands]
        except BaseException:
            self._proven = False
            await connection.disconnect(nowait=True)  # half an exchange must never be read by the next one
            raise
        self._proven = True
        return _accepted(answers)

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.disconnect(nowait=True)


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:  # a refusal leaves the connection in step
        return error


class Link:
    """The same for one thread: a socket timeout bounds each read."""

    def __init__(self, url: str, within: float) -> None:
        pool: Any = ConnectionPool.from_url(
            url, socket_timeout=within, socket_connect_timeout=within, retry=Retry(NoBackoff(), 0)
        )
        self._connection = pool.make_connection()
        self._proven = False

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
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            answers = [_read(connection) for _ in commands]
        except BaseException:
            self._proven = False
            connection.disconnect()
            raise
        self._proven = True
        return _accepted(answers)

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
