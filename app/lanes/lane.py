"""The API side of a lane: one process sends every waiting request in one push and awaits the replies."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import count
from typing import Any, TypeVar

from app.arrays import Array
from app.errors import AppError, DeadlinePassed, Invalid, PredictionFailed, QueueFull, Unavailable
from app.lanes import wire
from app.lanes.admission import AdmissionController
from app.lanes.pending_requests import Answer, PartialAnswer, PendingRequest, TokenStreamWaiter
from app.lanes.predictor_monitor import NO_REDIS, PROBE_INTERVAL_SECONDS, PredictorMonitor
from app.lanes.reply_receiver import ReplyReceiver
from app.lanes.request_sender import RequestSender
from app.lanes.wire import PredictorPresence, Reply, Request, Tensor
from app.typedefs import Json

MAX_QUEUE_SECONDS = 0.1  # default bound on the compute time that waits, see `AdmissionController`
DEADLINE_CHECK_SECONDS = 0.02
MANY_ROWS = 64  # of a request, whose computation takes turns with others for long enough to be cancelled
OTHER_RELEASE = "The serving worker is of another release, which reads no JSON."
DIED_TWICE = "The serving worker died on this request twice."

Pending = TypeVar("Pending", bound=PendingRequest)


class Lane:
    """Sends prediction requests; bounded by rows, never hangs, reconnects by itself."""

    def __init__(
        self,
        url: str,
        name: str = "default",
        max_waiting: int = 4096,
        max_seconds: float = MAX_QUEUE_SECONDS,
    ) -> None:
        self._admission = AdmissionController(max_waiting, max_seconds)
        self._sender = RequestSender(url, name, self._after_push, lambda ids: self._fail(ids, NO_REDIS))
        self._receiver = ReplyReceiver(url, self._deliver)
        self._monitor = PredictorMonitor(url, name, self._fail_all, self._resend)
        self._ids = count()
        self._pending: dict[int, PendingRequest] = {}  # by request id
        self._pushed = 0  # requests of this process in the lane at the last push
        self.error_counts: dict[str, int] = {}  # requests without an answer, by error code
        self._busy = asyncio.Event()  # set while any request is pending
        self._coroutines: list[asyncio.Task[None]] = []

    @property
    def waiting_rows(self) -> int:
        """Rows of this process that have no answer yet."""
        return self._admission.rows

    @property
    def depth(self) -> int:
        """Requests of all processes in the lane; at most half a second old under load."""
        return self._monitor.depth

    @property
    def known_predictors(self) -> list[PredictorPresence]:
        """The predictors at the last probe, however long ago that was."""
        return self._monitor.predictors

    @property
    def redis_reachable(self) -> bool:
        """Whether Redis answered the last probe."""
        return self._monitor.unavailable != NO_REDIS

    async def start(self) -> None:
        """Start sending and receiving; Redis need not be up."""
        self._coroutines = [asyncio.create_task(self._watch()), asyncio.create_task(self._expire())]
        self._receiver.listen()

    async def close(self) -> None:
        """Stop; pending calls raise `Unavailable`."""
        for task in self._coroutines:
            task.cancel()
        await asyncio.gather(*self._coroutines, return_exceptions=True)
        self._fail_all("The server is shutting down.")
        for part in (self._sender, self._receiver, self._monitor):
            await part.close()

    async def predictors(self) -> list[PredictorPresence]:
        """The predictors that serve this lane, as of at most half a second ago."""
        await self._monitor.probe()
        return self._monitor.predictors

    def check_capacity(self, artifact: str, *, stepwise: bool = False) -> None:
        """Raise `QueueFull` if not even one row could be sent now: before a large body is read in vain."""
        if self._pending:
            try:
                self._admission.check(artifact, self._depth_elsewhere(), stepwise=stepwise)
            except QueueFull as error:
                self._count(error)
                raise

    async def send(
        self,
        artifact: str,
        arrays: Sequence[Array],
        timeout: float,  # noqa: ASYNC109
        decoding: Sequence[Json] = (),
    ) -> Answer:
        """Predict arrays of (time, features), or decode from each with its settings in `decoding`.

        Raises an `AppError`, at the latest after `timeout` seconds.
        """
        instances = [Tensor.of(array) for array in arrays]
        return await self._send(artifact, timeout, instances=instances, decoding=list(decoding))

    async def send_body(self, artifact: str, body: bytes, rows: int, timeout: float) -> Answer:  # noqa: ASYNC109
        """Predict the `rows` instances of a JSON body: the predictor encodes them and writes the answer.

        Raises as `send`, and `Invalid` about instances that cannot be encoded.
        """
        answer = await self._send(artifact, timeout, instances=[], body=body, rows=rows)
        if not answer.predictions:
            raise PredictionFailed(OTHER_RELEASE)
        return answer

    async def stream(
        self,
        artifact: str,
        arrays: Sequence[Array],
        timeout: float,  # noqa: ASYNC109
        decoding: Sequence[Json],
    ) -> AsyncGenerator[PartialAnswer | Answer]:
        """Decode like `send`; yields the tokens of all instances as they come, then the whole answer.

        A caller that stops iterating cancels the rest of the computation.
        """
        try:
            await self._check_available()
            waiter = self._submit(
                TokenStreamWaiter,
                artifact,
                timeout,
                instances=[Tensor.of(array) for array in arrays],
                decoding=list(decoding),
            )
            try:
                while (part := await waiter.next_part()) is not None:
                    yield part
                yield self._accept(artifact, waiter.future.result())
            finally:
                if not waiter.future.done():
                    self._cancel(waiter)
                self._remove(waiter)
        except AppError as error:
            self._count(error)
            raise

    async def preload(self, artifact: str) -> None:
        """Have every reachable predictor load a version before it is used."""
        await self._monitor.preload(artifact)

    async def _send(self, artifact: str, seconds: float, **content: Any) -> Answer:
        """Send a request with these fields and wait for its answer."""
        try:
            await self._check_available()
            pending = self._submit(PendingRequest, artifact, seconds, **content)
            try:
                return self._accept(artifact, await pending.future)
            except asyncio.CancelledError:
                self._cancel(pending)
                raise
            finally:
                self._remove(pending)
        except Invalid:  # which says nothing of the lane
            raise
        except AppError as error:
            self._count(error)
            raise

    def _count(self, error: AppError) -> None:
        self.error_counts[error.code] = self.error_counts.get(error.code, 0) + 1

    async def _check_available(self) -> None:
        """Raise `Unavailable` if no predictor could answer."""
        monitor = self._monitor
        if monitor.unavailable is not None or (monitor.depth and not self._pending):
            await monitor.probe()  # nothing refreshes an idle process's knowledge: it may be old
        if monitor.unavailable is not None:
            raise Unavailable(monitor.unavailable)

    def _depth_elsewhere(self) -> int:
        """Requests of other processes in the lane."""
        return max(0, self._monitor.depth - self._pushed)

    def _submit(self, kind: type[Pending], artifact: str, seconds: float, **content: Any) -> Pending:
        """Admit and send a request with these fields; raises `QueueFull`."""
        request_id, sent = next(self._ids), time.time()
        request = Request(
            request_id,
            self._receiver.key,
            sent,
            sent + seconds,
            artifact,
            stream=kind.streaming,
            **content,
        )
        stepwise = bool(request.decoding)
        cost = self._admission.admit(artifact, request.size, self._depth_elsewhere(), stepwise=stepwise)
        pending = kind(request, time.monotonic() + seconds, cost)
        self._pending[request_id] = pending
        self._busy.set()
        self._sender.add(request_id, pending.blob)
        return pending

    def _accept(self, artifact: str, reply: Reply) -> Answer:
        """The answer in a reply, whose compute time updates the version's cost; raises its error."""
        answer = Answer.of(reply)
        steps = 1 if reply.decoded is None else max(reply.decoded.steps, 1)
        self._admission.record_batch(artifact, reply.compute_seconds / steps, reply.batch)
        return answer

    def _remove(self, pending: PendingRequest) -> None:
        self._sender.discard(pending.request_id)
        del self._pending[pending.request_id]
        request = pending.request
        self._admission.release(request.size, pending.cost, stepwise=bool(request.decoding))
        if not self._pending:
            self._busy.clear()
            self._monitor.depth = self._depth_elsewhere()  # as no push or probe refreshes it while idle
            self._pushed = 0

    def _cancel(self, pending: PendingRequest) -> None:
        """Withdraw a request whose client has gone.

        Predictors are told only if it takes many turns, as one that is decoded step by step does: any other
        request is computed soon.
        """
        message = wire.cancel_message(self._receiver.key, pending.request_id)
        long = pending.request.decoding or pending.request.size > MANY_ROWS
        commands = self._monitor.control_commands(message) if long else []
        self._sender.withdraw(pending.request_id, pending.blob, commands)

    def _after_push(self, depth: int) -> None:
        self._monitor.depth, self._pushed = depth, len(self._pending)

    def _deliver(self, reply: Reply) -> None:
        if (pending := self._pending.get(reply.id)) is not None:
            pending.deliver(reply)

    async def _watch(self) -> None:
        """While any request is pending, probe twice a second whether a predictor could answer it."""
        while True:
            await self._busy.wait()
            await self._monitor.probe()
            self._admission.predictors = max(1, len(self._monitor.predictors))
            if self._receiver.interrupted and self._monitor.unavailable is None:
                self._receiver.interrupted = False
                self._resend(None)  # Redis is back, or another one: its data may be lost
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)

    async def _expire(self) -> None:
        """Fail requests past their deadline: one timer for all of them rather than one each."""
        while True:
            await self._busy.wait()
            await asyncio.sleep(DEADLINE_CHECK_SECONDS)
            now = time.monotonic()
            for pending in [one for one in self._pending.values() if one.deadline <= now]:
                pending.fail(DeadlinePassed())

    def _fail_all(self, reason: str) -> None:
        self._fail(self._pending, reason)

    def _resend(self, gone: set[str] | None) -> None:
        """Send requests again that predictors with these instance ids (None: any) may have lost."""
        for pending in [one for one in self._pending.values() if one.may_be_lost(gone)]:
            if pending.request_id in self._sender:
                continue
            if pending.streaming:
                self._cancel(pending)  # two predictors must not both continue the stream
            del self._pending[pending.request_id]
            may_resend = pending.prepare_resend(next(self._ids))
            self._pending[pending.request_id] = pending
            if may_resend:
                self._sender.add(pending.request_id, pending.blob)
            else:
                pending.fail(Unavailable(DIED_TWICE))

    def _fail(self, request_ids: Iterable[int], reason: str) -> None:
        for request_id in request_ids:
            if (pending := self._pending.get(request_id)) is not None:
                pending.fail(Unavailable(reason))
