"""The API side of a lane: one process sends every waiting request in one push and awaits the replies."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import count
from typing import TypeVar

from app.errors import AppError, DeadlinePassed, QueueFull, Unavailable
from app.lanes import wire
from app.lanes.gate import Gate
from app.lanes.lookout import NO_REDIS, PROBE_SECONDS, Lookout
from app.lanes.mailbox import Mailbox
from app.lanes.outbox import Outbox
from app.lanes.waiting import Answer, Following, Part, Waiting
from app.lanes.wire import Presence, Reply, Request, Tensor
from app.tasks.contract import Array
from app.typedefs import Json

QUEUE_SECONDS = 0.025  # what waits may take so long, see `Gate`
TICK_SECONDS = 0.02
LOST = "The serving worker died on this request twice."

Kind = TypeVar("Kind", bound=Waiting)


class Lane:
    """Sends prediction requests; bounded by rows, never hangs, reconnects by itself."""

    def __init__(
        self, url: str, name: str = "default", max_waiting: int = 4096, max_seconds: float = QUEUE_SECONDS
    ) -> None:
        self._gate = Gate(max_waiting, max_seconds)
        self._outbox = Outbox(url, name, self._after_push, lambda numbers: self._fail(numbers, NO_REDIS))
        self._mailbox = Mailbox(url, self._deliver)
        self._lookout = Lookout(url, name, self._fail_all, self._send_again)
        self._ids = count()
        self._waiting: dict[int, Waiting] = {}
        self._pushed = 0  # requests of this process in the lane at the last push
        self.refused: dict[str, int] = {}  # requests without an answer, by error code
        self._busy = asyncio.Event()
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
        self._coroutines = [asyncio.create_task(self._watch()), asyncio.create_task(self._expire())]
        self._mailbox.listen()

    async def close(self) -> None:
        """Stop; whoever still waits gets `Unavailable`."""
        for task in self._coroutines:
            task.cancel()
        await asyncio.gather(*self._coroutines, return_exceptions=True)
        self._fail_all("The server is shutting down.")
        for part in (self._outbox, self._mailbox, self._lookout):
            await part.close()

    async def predictors(self) -> list[Presence]:
        """The predictors that serve this lane, as known at most half a second ago."""
        await self._lookout.probe()
        return self._lookout.present

    def check(self, artifact: str, *, stepwise: bool = False) -> None:
        """Raise `QueueFull` if not even one row could be sent now: before a large body is read in vain."""
        if self._waiting:
            try:
                self._gate.check(artifact, self._elsewhere(), stepwise=stepwise)
            except QueueFull as error:
                self._count(error)
                raise

    async def send(
        self,
        artifact: str,
        arrays: Sequence[Array],
        timeout: float,  # noqa: ASYNC109
        search: Sequence[Json] = (),
    ) -> Answer:
        """Predict arrays of (time, features), or decode from each as its `search` says.

        Raises an `AppError`, at the latest after `timeout` seconds.
        """
        try:
            await self._ready()
            waiting = self._enter(Waiting, artifact, arrays, timeout, search)
            try:
                return self._accept(artifact, await waiting.future)
            except asyncio.CancelledError:
                self._take_back(waiting)
                raise
            finally:
                self._leave(waiting)
        except AppError as error:
            self._count(error)
            raise

    async def stream(
        self,
        artifact: str,
        arrays: Sequence[Array],
        timeout: float,  # noqa: ASYNC109
        search: Sequence[Json],
    ) -> AsyncGenerator[Part | Answer]:
        """The same with the tokens of all instances as they are found, each once; then the whole answer.

        Whoever stops before that has the rest not computed.
        """
        try:
            await self._ready()
            following = self._enter(Following, artifact, arrays, timeout, search)
            try:
                while (part := await following.part()) is not None:
                    yield part
                yield self._accept(artifact, following.future.result())
            finally:
                if not following.future.done():
                    self._take_back(following)
                self._leave(following)
        except AppError as error:
            self._count(error)
            raise

    async def prepare(self, artifact: str) -> None:
        """Have every predictor load a version ahead of its use, as far as they can be told."""
        await self._lookout.prepare(artifact)

    def _count(self, error: AppError) -> None:
        self.refused[error.code] = self.refused.get(error.code, 0) + 1

    async def _ready(self) -> None:
        """Raise `Unavailable` if nobody could answer."""
        lookout = self._lookout
        if lookout.reason is not None or (lookout.depth and not self._waiting):
            await lookout.probe()  # what was seen last may be long ago
        if lookout.reason is not None:
            raise Unavailable(lookout.reason)

    def _elsewhere(self) -> int:
        return max(0, self._lookout.depth - self._pushed)

    def _enter(
        self, kind: type[Kind], artifact: str, arrays: Sequence[Array], seconds: float, search: Sequence[Json]
    ) -> Kind:
        """Send a request; raises `QueueFull`."""
        number, sent = next(self._ids), time.time()
        cost = self._gate.enter(artifact, len(arrays), self._elsewhere(), stepwise=bool(search))
        instances = [Tensor.of(array) for array in arrays]
        request = Request(
            number, self._mailbox.key, sent, sent + seconds, artifact, instances, list(search), kind.parts
        )
        waiting = kind(request, time.monotonic() + seconds, cost)
        self._waiting[number] = waiting
        self._busy.set()
        self._outbox.add(number, waiting.blob)
        return waiting

    def _accept(self, artifact: str, reply: Reply) -> Answer:
        """What a reply says, or the error that it is; the gate learns what a pass took."""
        answer = Answer.of(reply)
        steps = 1 if reply.decoded is None else max(reply.decoded.steps, 1)
        self._gate.learn(artifact, reply.compute_seconds / steps, reply.batch)
        return answer

    def _leave(self, waiting: Waiting) -> None:
        self._outbox.drop(waiting.number)
        del self._waiting[waiting.number]
        request = waiting.request
        self._gate.leave(len(request.instances), waiting.cost, stepwise=bool(request.search))
        if not self._waiting:
            self._busy.clear()
            self._lookout.depth = self._elsewhere()  # what nobody refreshes now
            self._pushed = 0

    def _take_back(self, waiting: Waiting) -> None:
        """The client is gone; a predictor that decodes step by step is told, the others are done soon."""
        drop = wire.cancel_order(self._mailbox.key, waiting.number)
        orders = self._lookout.orders(drop) if waiting.request.search else []
        self._outbox.take_back(waiting.number, waiting.blob, orders)

    def _after_push(self, depth: int) -> None:
        self._lookout.depth, self._pushed = depth, len(self._waiting)

    def _deliver(self, reply: Reply) -> None:
        if (waiting := self._waiting.get(reply.id)) is not None:
            waiting.deliver(reply)

    async def _watch(self) -> None:
        """While anything waits, look twice a second whether anybody is there to answer."""
        while True:
            await self._busy.wait()
            await self._lookout.probe()
            self._gate.predictors = max(1, len(self._lookout.present))
            if self._mailbox.broken and self._lookout.reason is None:
                self._mailbox.broken = False
                self._send_again(None)  # Redis is back, or another: what it had may be lost
            await asyncio.sleep(PROBE_SECONDS)

    async def _expire(self) -> None:
        """While anything waits, end what is past its deadline: one timer for all, not one for each."""
        while True:
            await self._busy.wait()
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            for waiting in [one for one in self._waiting.values() if one.deadline <= now]:
                waiting.fail(DeadlinePassed())

    def _fail_all(self, reason: str) -> None:
        self._fail(self._waiting, reason)

    def _send_again(self, gone: set[str] | None) -> None:
        """Some predictors are gone with what they had taken; what may be that is sent once more."""
        for waiting in [one for one in self._waiting.values() if one.lost(gone)]:
            if waiting.number in self._outbox:
                continue
            if waiting.parts:
                self._take_back(waiting)  # two must not go on with it
            del self._waiting[waiting.number]
            again = waiting.renew(next(self._ids))
            self._waiting[waiting.number] = waiting
            if again:
                self._outbox.add(waiting.number, waiting.blob)
            else:
                waiting.fail(Unavailable(LOST))

    def _fail(self, numbers: Iterable[int], reason: str) -> None:
        for number in numbers:
            if (waiting := self._waiting.get(number)) is not None:
                waiting.fail(Unavailable(reason))
