"""The API side of a lane: one process sends every waiting request in one push and awaits the replies."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from app.errors import AppError, DeadlinePassed, NotFound, PredictionFailed, QueueFull, Unavailable
from app.lanes import wire
from app.lanes.gate import Gate
from app.lanes.links import Command, Pipe
from app.lanes.lookout import NO_REDIS, PROBE_SECONDS, REDIS_SECONDS, Lookout
from app.lanes.mailbox import Mailbox
from app.lanes.wire import Floats, Presence, Reply, Request, Status, Tensor

logger = logging.getLogger(__name__)

QUEUE_SECONDS = 0.025  # what waits may take so long, see `Gate`
LANE_SECONDS = 600  # a lane that nobody serves or uses disappears
TICK_SECONDS = 0.02
PUSH_AT = 8  # requests: a predictor computes the first ones while more are being read
LOST = "The serving worker died on this request twice."
REFUSALS: dict[Status, type[AppError]] = {
    Status.EXPIRED: DeadlinePassed,
    Status.MISSING: NotFound,
    Status.ERROR: PredictionFailed,
    Status.AWAY: Unavailable,
}


class Answer(NamedTuple):
    """The outputs of one call, one array per instance, and where its time went."""

    outputs: list[Floats]
    queue_seconds: float
    compute_seconds: float
    batch: int = 1  # rows, of all requests, in the batches that computed this one


@dataclass(slots=True)
class _Waiting:
    """A request without an answer; its bytes are kept to send them again when a predictor dies."""

    future: asyncio.Future[Reply]
    blob: bytes
    deadline: float  # on the monotonic clock
    again: bool = True

    def fail(self, error: AppError) -> None:
        """End the wait, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)


class Lane:
    """Sends prediction requests; bounded by rows, never hangs, reconnects by itself."""

    def __init__(
        self, url: str, name: str = "default", max_waiting: int = 4096, max_seconds: float = QUEUE_SECONDS
    ) -> None:
        self._lane = wire.lane_key(name)
        self._gate = Gate(max_waiting, max_seconds)
        self._outbound, self._mailbox = Pipe(url), Mailbox(url, self._deliver)
        self._lookout = Lookout(url, name, self._lost, self._send_again)
        self._ids = count()
        self._waiting: dict[int, _Waiting] = {}
        self._outgoing: dict[int, bytes] = {}  # encoded, not yet pushed
        self._kept = float("-inf")  # when the lane's expiry was last put off
        self._pushed = 0  # requests of this process in the lane at the last push
        self.refused: dict[str, int] = {}  # requests without an answer, by error code
        self._busy = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop  # from `start` on
        self._coroutines: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """Rows of this process that have no answer yet."""
        return self._gate.rows

    @property
    def depth(self) -> int:
        """Requests of all processes in the lane when last seen, at most half a second ago under load."""
        return self._lookout.depth

    @property
    def present(self) -> list[Presence]:
        """The predictors as last seen."""
        return self._lookout.present

    @property
    def reachable(self) -> bool:
        """Whether Redis answered when last asked."""
        return self._lookout.reason != NO_REDIS

    async def start(self) -> None:
        """Start sending and receiving; Redis need not be up."""
        self._loop = asyncio.get_running_loop()
        self._coroutines = [asyncio.create_task(self._watch()), asyncio.create_task(self._expire())]
        self._mailbox.listen()

    async def close(self) -> None:
        """Stop; whoever still waits gets `Unavailable`."""
        for task in self._coroutines:
            task.cancel()
        await asyncio.gather(*self._coroutines, return_exceptions=True)
        self._fail(list(self._waiting), "The server is shutting down.")
        for part in (self._outbound, self._mailbox, self._lookout):
            await part.close()

    async def predictors(self) -> list[Presence]:
        """The predictors that serve this lane, as known at most half a second ago."""
        await self._lookout.probe()
        return self._lookout.present

    def check(self, artifact: str) -> None:
        """Raise `QueueFull` if not even one row could be sent now: before a large body is read in vain."""
        if self._waiting:
            try:
                self._gate.check(artifact, max(0, self._lookout.depth - self._pushed))
            except QueueFull as error:
                self._count(error)
                raise

    async def send(self, artifact: str, arrays: Sequence[Floats], timeout: float) -> Answer:  # noqa: ASYNC109
        """Predict arrays of (time, features); raises an `AppError`, at the latest after `timeout` seconds."""
        try:
            if self._lookout.reason is not None or (self._lookout.depth and not self._waiting):
                await self._lookout.probe()  # what was seen last may be long ago
            if self._lookout.reason is not None:
                raise Unavailable(self._lookout.reason)
            reply = await self._queue(artifact, arrays, timeout)
            if refusal := REFUSALS.get(reply.status):
                raise refusal(reply.message or None)
        except AppError as error:
            self._count(error)
            raise
        self._gate.learn(artifact, reply.compute_seconds, reply.batch)
        outputs = [output.array() for output in reply.outputs]
        return Answer(outputs, reply.queue_seconds, reply.compute_seconds, reply.batch)

    def _count(self, error: AppError) -> None:
        self.refused[error.code] = self.refused.get(error.code, 0) + 1

    async def _queue(self, artifact: str, arrays: Sequence[Floats], seconds: float) -> Reply:
        rows, number, sent = len(arrays), next(self._ids), time.time()
        cost = self._gate.enter(artifact, rows, max(0, self._lookout.depth - self._pushed))
        instances = [Tensor.of(array) for array in arrays]
        blob = wire.encode(Request(number, self._mailbox.key, sent, sent + seconds, artifact, instances))
        future = self._loop.create_future()
        self._waiting[number] = _Waiting(future, blob, time.monotonic() + seconds)
        self._busy.set()
        self._hand_over(number, blob)
        try:
            reply: Reply = await future
        except asyncio.CancelledError:  # the client is gone: what no predictor has taken yet is not computed
            if number not in self._outgoing:
                self._outbound.send(("LREM", self._lane, -1, blob), then=_ignore, within=REDIS_SECONDS)
            raise
        finally:
            self._outgoing.pop(number, None)
            del self._waiting[number]
            self._gate.leave(rows, cost)
            if not self._waiting:
                self._busy.clear()
                self._lookout.depth = max(0, self._lookout.depth - self._pushed)  # what nobody refreshes now
                self._pushed = 0
        return reply

    def _hand_over(self, number: int, blob: bytes) -> None:
        """Push with all that waits at the end of this turn of the event loop, or as soon as a few do."""
        self._outgoing[number] = blob
        if len(self._outgoing) >= PUSH_AT:
            self._push()
        elif len(self._outgoing) == 1:
            self._loop.call_soon(self._push)

    def _push(self) -> None:
        batch, self._outgoing = self._outgoing, {}
        if not batch:
            return
        commands: list[Command] = [("RPUSH", self._lane, *batch.values())]
        if (now := time.monotonic()) > self._kept + LANE_SECONDS / 10:
            commands.append(("EXPIRE", self._lane, LANE_SECONDS))
            self._kept = now
        self._outbound.send(*commands, then=partial(self._after_push, batch), within=REDIS_SECONDS)

    def _after_push(self, batch: dict[int, bytes], answers: list[Any], error: Exception | None) -> None:
        if error is not None:
            logger.warning("lane push failed: %s", error)
            self._kept = float("-inf")
            self._fail(batch, NO_REDIS)
            return
        self._lookout.depth, self._pushed = answers[0], len(self._waiting)

    def _deliver(self, reply: Reply) -> None:
        waiting = self._waiting.get(reply.id)
        if waiting is not None and not waiting.future.done():
            waiting.future.set_result(reply)

    async def _watch(self) -> None:
        """While anything waits, look twice a second whether anybody is there to answer."""
        while True:
            await self._busy.wait()
            await self._lookout.probe()
            self._gate.predictors = max(1, len(self._lookout.present))
            if self._mailbox.broken and self._lookout.reason is None:
                self._mailbox.broken = False
                self._send_again()  # Redis is back, or another: what it had may be lost
            await asyncio.sleep(PROBE_SECONDS)

    async def _expire(self) -> None:
        """While anything waits, end what is past its deadline: one timer for all, not one for each."""
        while True:
            await self._busy.wait()
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            for waiting in [one for one in self._waiting.values() if one.deadline <= now]:
                waiting.fail(DeadlinePassed())

    async def prepare(self, artifact: str) -> None:
        """Have every predictor load a version ahead of its use, as far as they can be told."""
        await self._lookout.prepare(artifact)

    def _lost(self, reason: str) -> None:
        self._fail(list(self._waiting), reason)

    def _send_again(self) -> None:
        """A predictor is gone with what it had taken; nobody knows which, and computing twice is harmless."""
        pushed = [
            (number, waiting) for number, waiting in self._waiting.items() if number not in self._outgoing
        ]
        self._fail([number for number, waiting in pushed if not waiting.again], LOST)
        for number, waiting in pushed:
            if waiting.again:
                waiting.again = False
                self._hand_over(number, waiting.blob)

    def _fail(self, numbers: Iterable[int], reason: str) -> None:
        for number in numbers:
            if (waiting := self._waiting.get(number)) is not None:
                waiting.fail(Unavailable(reason))


def _ignore(_: list[Any], error: Exception | None) -> None:
    if error is not None:
        logger.warning("a request nobody waits for could not be taken back: %s", error)
