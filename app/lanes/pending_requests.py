"""Requests that have no complete answer yet, and the answers that replies become."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import msgspec

from app.arrays import Array
from app.errors import AppError, DeadlinePassed, Invalid, NotFound, PredictionFailed, Unavailable
from app.lanes import wire
from app.lanes.wire import Reply, ReplyStatus, Request
from app.typedefs import Json

ERRORS: dict[ReplyStatus, type[AppError]] = {
    ReplyStatus.EXPIRED: DeadlinePassed,
    ReplyStatus.INVALID: Invalid,
    ReplyStatus.MISSING: NotFound,
    ReplyStatus.ERROR: PredictionFailed,
    ReplyStatus.UNAVAILABLE: Unavailable,
}


class Answer(NamedTuple):
    """The outputs of one call, one array per instance, and where its time went."""

    outputs: list[Array]
    queue_seconds: float
    compute_seconds: float
    batch: int = 1  # rows, of all requests, in the batches that computed this one
    notes: Sequence[Json] = ()  # one per instance, such as the finish reason; empty without decoding
    predictions: bytes = b""  # a JSON array, instead of outputs: the answer to a request sent as JSON

    @classmethod
    def of(cls, reply: Reply) -> "Answer":
        """The answer in a reply; raises the `AppError` that a reply without an answer stands for."""
        if error := ERRORS.get(reply.status):
            raise error(reply.message or None, reply.problems)
        outputs = [output.array() for output in reply.outputs]
        notes = reply.decoded.notes if reply.decoded is not None else ()
        return cls(outputs, reply.queue_seconds, reply.compute_seconds, reply.batch, notes, reply.predictions)


class PartialAnswer(NamedTuple):
    """The tokens of one call that were generated since the previous partial answer."""

    tokens: list[list[int]]  # by instance
    notes: list[Json]  # by instance: those of one that has ended, else empty


class PendingRequest:
    """A request that waits for its reply; its encoding is kept to send it again when a predictor dies."""

    streaming: ClassVar[bool] = False  # whether partial replies are requested
    __slots__ = ("_may_resend", "_predictor", "blob", "cost", "deadline", "future", "request", "request_id")

    def __init__(self, request: Request, deadline: float, cost: float) -> None:
        self.request, self.request_id = request, request.id
        self.deadline = deadline  # on the monotonic clock
        self.cost = cost  # in the admission controller's seconds
        self.blob = wire.encode(request)
        self.future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._may_resend = True
        self._predictor = ""  # instance id of the predictor that acknowledged the request, if one has

    def deliver(self, reply: Reply) -> None:
        """Take a reply; the final one resolves `future`, a partial one names the predictor at work."""
        if reply.status is ReplyStatus.PARTIAL:
            self._predictor = reply.decoded.instance_id if reply.decoded is not None else ""
        elif not self.future.done():
            self.future.set_result(reply)

    def fail(self, error: AppError) -> None:
        """End the wait with an error, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)

    def may_be_lost(self, gone: set[str] | None) -> bool:
        """Whether the predictors with these instance ids may have taken the request with them.

        None stands for any predictor.
        """
        if self.future.done():
            return False
        return gone is None or not self._predictor or self._predictor in gone

    def prepare_resend(self, new_id: int) -> bool:
        """Get ready to be sent again; false when the request was sent twice already.

        A plain request keeps its id rather than taking the new one.
        """
        del new_id  # the reply of whichever predictor answers first is right
        may_resend, self._may_resend = self._may_resend, False
        return may_resend


class TokenStreamWaiter(PendingRequest):
    """A request whose tokens are streamed: `next_part` hands them out as they are generated."""

    streaming: ClassVar[bool] = True
    __slots__ = ("_changed", "_emitted", "_notes", "_tokens")

    def __init__(self, request: Request, deadline: float, cost: float) -> None:
        super().__init__(request, deadline, cost)
        count = len(request.instances)
        self._tokens: list[list[int]] = [[] for _ in range(count)]
        self._emitted = [0] * count  # tokens of each instance that `next_part` has returned
        self._notes: list[Json] = [{} for _ in range(count)]
        self._changed = asyncio.Event()
        self.future.add_done_callback(lambda _: self._changed.set())

    def deliver(self, reply: Reply) -> None:
        """Take the tokens of a partial reply, or the final reply."""
        super().deliver(reply)
        info = reply.decoded
        if reply.status is not ReplyStatus.PARTIAL or info is None or not info.starts:
            return
        self._may_resend = True  # it makes progress, so it is not the request that kills predictors
        for tokens, output, start in zip(self._tokens, reply.outputs, info.starts, strict=True):
            if start <= len(tokens):  # else a partial reply was lost, and the final one will have all tokens
                tokens.extend(output.array()[len(tokens) - start :].tolist())
        self._notes = [new or old for new, old in zip(info.notes, self._notes, strict=True)]
        self._changed.set()

    async def next_part(self) -> PartialAnswer | None:
        """What came since the last call; None when only the final reply, or an error, is left in `future`."""
        await self._changed.wait()
        self._changed.clear()
        if self.future.done():
            return None
        new = [tokens[start:] for tokens, start in zip(self._tokens, self._emitted, strict=True)]
        self._emitted = [len(tokens) for tokens in self._tokens]
        notes, self._notes = self._notes, [{} for _ in self._notes]
        return PartialAnswer(new, notes)

    def prepare_resend(self, new_id: int) -> bool:
        """Take a new id, as a reply to the old one might still come and differ from the new predictor's.

        The next predictor continues from the tokens that came so far, and does not repeat them.
        """
        decoding = [
            {**settings, "begun": tokens}
            for settings, tokens in zip(self.request.decoding, self._tokens, strict=True)
        ]
        self.request = msgspec.structs.replace(self.request, id=new_id, decoding=decoding)
        self.request_id, self.blob, self._predictor = new_id, wire.encode(self.request), ""
        return super().prepare_resend(new_id)
