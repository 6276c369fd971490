"""The API side of a lane: one process sends every waiting request in one push and awaits the replies."""

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import msgspec

from app.errors import AppError, DeadlinePassed, NotFound, PredictionFailed, QueueFull, Unavailable
from app.lanes import wire
from app.lanes.links import FAILURES, AsyncLink
from app.lanes.wire import Floats, Presence, Reply, Request, Status, Tensor

logger = logging.getLogger(__name__)

PROBE_SECONDS = 0.5  # how long what is known of the predictors is believed
REDIS_SECONDS = 0.9  # a Redis that takes longer is away
LANE_SECONDS = 600  # a lane that nobody serves or uses disappears
REPLIES_AT_ONCE = 256
NO_PREDICTOR = "No serving worker is running; try again shortly."
NO_REDIS = "The queue is unreachable; try again shortly."
LOST = "The serving worker died on this request twice."
REFUSALS: dict[Status, type[AppError]] = {
    Status.EXPIRED: DeadlinePassed,
    Status.MISSING: NotFound,
    Status.ERROR: PredictionFailed,
}


@dataclass(frozen=True)
class Answer:
    """The outputs of one call, one array per instance, and where its time went."""

    outputs: list[Floats]
    queue_seconds: float
    compute_seconds: float


@dataclass(slots=True)
class _Waiting:
    """A request without an answer; its bytes are kept to send them again when a predictor dies."""

    future: asyncio.Future[Reply]
    blob: bytes
    again: bool = True


class Lane:
    """Sends prediction requests; bounded by rows, never hangs, reconnects by itself."""

    def __init__(self, url: str, name: str = "default", max_waiting: int = 4096) -> None:
        self._lane = wire.lane_key(name)
        self._members = wire.predictors_key(name)
        self._reply = wire.reply_key(secrets.token_hex(8))
        self._max_waiting = max_waiting
        self._outbound, self._inbound, self._probes = AsyncLink(url), AsyncLink(url), AsyncLink(url)
        self._ids = count()
        self._waiting: dict[int, _Waiting] = {}
        self._outgoing: dict[int, bytes] = {}  # encoded, not yet pushed
        self._rows = 0
        self._depth = 0  # requests in the lane, of all processes, when last seen
        self._gathered, self._busy = asyncio.Event(), asyncio.Event()
        self._probing = asyncio.Lock()
        self._probed = float("-inf")
        self._slow = False  # the last probe, and none before it, had no answer in time
        self._present: list[Presence] = []
        self._reason: str | None = NO_PREDICTOR  # why nothing can be sent, if so
        self._coroutines: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """Rows of this process that have no answer yet."""
        return self._rows

    @property
    def depth(self) -> int:
        """Requests of all processes in the lane when last seen, at most half a second ago under load."""
        return self._depth

    @property
    def reachable(self) -> bool:
        """Whether Redis answered when last asked."""
        return self._reason != NO_REDIS

    async def start(self) -> None:
        """Start sending and receiving; Redis need not be up."""
        self._coroutines = [
            asyncio.create_task(self._send_all()),
            asyncio.create_task(self._receive_all()),
            asyncio.create_task(self._watch()),
        ]

    async def close(self) -> None:
        """Stop; whoever still waits gets `Unavailable`."""
        for task in self._coroutines:
            task.cancel()
        await asyncio.gather(*self._coroutines, return_exceptions=True)
        self._fail(list(self._waiting), "The server is shutting down.")
        for link in (self._outbound, self._inbound, self._probes):
            await link.close()

    async def predictors(self) -> list[Presence]:
        """The predictors that serve this lane, as known at most half a second ago."""
        await self._probe()
        return self._present

    async def send(self, artifact: str, arrays: Sequence[Floats], timeout: float) -> Answer:  # noqa: ASYNC109
        """Predict arrays of (time, features); raises an `AppError`, at the latest after `timeout` seconds."""
        sent, rows = time.time(), len(arrays)
        try:
            async with asyncio.timeout(timeout):
                await self._admit(rows)
                number = next(self._ids)
                instances = [Tensor.of(array) for array in arrays]
                request = Request(number, self._reply, sent, sent + timeout, artifact, instances)
                return _answer(await self._queue(number, wire.encode(request), rows))
        except TimeoutError:
            raise DeadlinePassed from None

    async def _admit(self, rows: int) -> None:
        if self._reason is not None:
            await self._probe()
        if self._reason is not None:
            raise Unavailable(self._reason)
        if self._rows + rows > self._max_waiting or self._depth > self._max_waiting:
            raise QueueFull

    async def _queue(self, number: int, blob: bytes, rows: int) -> Reply:
        waiting = _Waiting(asyncio.get_running_loop().create_future(), blob)
        self._waiting[number] = waiting
        self._outgoing[number] = blob
        self._rows += rows
        self._gathered.set()
        self._busy.set()
        try:
            return await waiting.future
        finally:  # also when the caller is cancelled: what was not sent yet never will be
            self._outgoing.pop(number, None)
            del self._waiting[number]
            self._rows -= rows
            if not self._waiting:
                self._busy.clear()

    async def _send_all(self) -> None:
        while True:
            await self._gathered.wait()
            self._gathered.clear()
            batch, self._outgoing = self._outgoing, {}
            if batch:
                await self._push(batch)

    async def _push(self, batch: dict[int, bytes]) -> None:
        try:
            push, expire = ("RPUSH", self._lane, *batch.values()), ("EXPIRE", self._lane, LANE_SECONDS)
            self._depth, _ = await self._outbound.call(push, expire, within=REDIS_SECONDS)
        except FAILURES as error:
            logger.warning("lane push failed: %s", error or "no answer in time")
            self._fail(batch, NO_REDIS)

    async def _receive_all(self) -> None:
        pop = ("BLMPOP", wire.BLOCK_SECONDS, 1, self._reply, "LEFT", "COUNT", REPLIES_AT_ONCE)
        while True:
            try:
                found = (await self._inbound.call(pop, within=wire.BLOCK_SECONDS + 1))[0]
                for blob in found[1] if found else ():
                    self._resolve(blob)
            except (*FAILURES, msgspec.MsgspecError) as error:
                logger.warning("lane replies are unreadable: %s", error)
                await asyncio.sleep(PROBE_SECONDS / 5)

    def _resolve(self, blob: bytes) -> None:
        for reply in wire.decode_replies(blob):
            waiting = self._waiting.get(reply.id)
            if waiting is not None and not waiting.future.done():
                waiting.future.set_result(reply)

    async def _watch(self) -> None:
        """While anything waits, look twice a second whether anybody is there to answer."""
        while True:
            await self._busy.wait()
            await self._probe()
            await asyncio.sleep(PROBE_SECONDS)

    async def _probe(self) -> None:
        async with self._probing:
            if time.monotonic() - self._probed < PROBE_SECONDS:
                return
            before = {presence.boot for presence in self._present}
            try:
                self._present = await self._look()
                self._reason, self._slow = None if self._present else NO_PREDICTOR, False
            except (*FAILURES, msgspec.MsgspecError) as error:
                logger.warning("lane probe failed: %s", error or "no answer in time")
                self._slow = isinstance(error, TimeoutError) and not self._slow
                if not self._slow:  # a single pause, there or here, is no outage
                    self._present, self._reason = [], NO_REDIS
            self._probed = time.monotonic()
        if self._reason is not None:
            self._fail(list(self._waiting), self._reason)
        elif before - {presence.boot for presence in self._present}:
            self._send_again()

    async def _look(self) -> list[Presence]:
        look = ("SMEMBERS", self._members), ("LLEN", self._lane)
        members, self._depth = await self._probes.call(*look, within=REDIS_SECONDS / 2)
        if not members:
            return []
        keys = [wire.predictor_key(member.decode()) for member in members]
        values = (await self._probes.call(("MGET", *keys), within=REDIS_SECONDS / 2))[0]
        return [wire.decode_presence(value) for value in values if value is not None]

    def _send_again(self) -> None:
        """A predictor is gone with what it had taken; nobody knows which, and computing twice is harmless."""
        pushed = [
            (number, waiting) for number, waiting in self._waiting.items() if number not in self._outgoing
        ]
        self._fail([number for number, waiting in pushed if not waiting.again], LOST)
        for number, waiting in pushed:
            if waiting.again:
                waiting.again = False
                self._outgoing[number] = waiting.blob
        self._gathered.set()

    def _fail(self, numbers: Iterable[int], reason: str) -> None:
        for number in numbers:
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.future.done():
                waiting.future.set_exception(Unavailable(reason))


def _answer(reply: Reply) -> Answer:
    if refusal := REFUSALS.get(reply.status):
        raise refusal(reply.message or None)
    return Answer([output.array() for output in reply.outputs], reply.queue_seconds, reply.compute_seconds)
