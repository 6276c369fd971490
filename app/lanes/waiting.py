"""Requests that have no answer yet, or only a part of it."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import msgspec

from app.errors import AppError, DeadlinePassed, NotFound, PredictionFailed, Unavailable
from app.lanes import wire
from app.lanes.wire import Decoded, Reply, Request, Status
from app.tasks.contract import Array
from app.typedefs import Json

NOTHING = Decoded([])
REFUSALS: dict[Status, type[AppError]] = {
    Status.EXPIRED: DeadlinePassed,
    Status.MISSING: NotFound,
    Status.ERROR: PredictionFailed,
    Status.AWAY: Unavailable,
}


class Answer(NamedTuple):
    """The outputs of one call, one array per instance, and where its time went."""

    outputs: list[Array]
    queue_seconds: float
    compute_seconds: float
    batch: int = 1  # rows, of all requests, in the batches that computed this one
    notes: Sequence[Json] = ()  # of what was decoded step by step, one per instance

    @classmethod
    def of(cls, reply: Reply) -> "Answer":
        """What a reply says; raises the error that it is."""
        if refusal := REFUSALS.get(reply.status):
            raise refusal(reply.message or None)
        outputs = [output.array() for output in reply.outputs]
        notes = reply.decoded.notes if reply.decoded is not None else ()
        return cls(outputs, reply.queue_seconds, reply.compute_seconds, reply.batch, notes)


class Part(NamedTuple):
    """The tokens of one call that were found since the last part."""

    tokens: list[list[int]]  # by instance
    ended: list[Json]  # by instance: what is known of one that ended, nothing of the others


class Waiting:
    """A request that waits for its reply; its bytes are kept to send them again when a predictor dies."""

    parts: ClassVar[bool] = False  # whether tokens are wanted as they are found
    __slots__ = ("_again", "_holder", "blob", "cost", "deadline", "future", "number", "request")

    def __init__(self, request: Request, deadline: float, cost: float) -> None:
        self.request, self.number = request, request.id
        self.deadline, self.cost = deadline, cost  # on the monotonic clock; at the gate
        self.blob = wire.encode(request)
        self.future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._again = True  # it may be sent once more
        self._holder = ""  # the boot of the predictor that works at it, if that is known

    def deliver(self, reply: Reply) -> None:
        """Take what a predictor says."""
        if reply.status is Status.PART:
            self._holder = (reply.decoded or NOTHING).by
        elif not self.future.done():
            self.future.set_result(reply)

    def fail(self, error: AppError) -> None:
        """End the wait, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)

    def lost(self, gone: set[str] | None) -> bool:
        """Whether predictors of these boots, or any (None), may have taken it with them."""
        if self.future.done():
            return False
        return gone is None or not self._holder or self._holder in gone

    def renew(self, number: int) -> bool:
        """Get ready to be sent again, perhaps under that number; whether it may be."""
        del number  # whichever predictor answers first is right
        again, self._again = self._again, False
        return again


class Following(Waiting):
    """A request whose tokens are wanted as they are found."""

    parts: ClassVar[bool] = True
    __slots__ = ("_ended", "_news", "_tokens", "_told")

    def __init__(self, request: Request, deadline: float, cost: float) -> None:
        super().__init__(request, deadline, cost)
        count = len(request.instances)
        self._tokens: list[list[int]] = [[] for _ in range(count)]
        self._told = [0] * count  # tokens that `part` has given out
        self._ended: list[Json] = [{} for _ in range(count)]
        self._news = asyncio.Event()
        self.future.add_done_callback(lambda _: self._news.set())

    def deliver(self, reply: Reply) -> None:
        """Take tokens, or the reply."""
        super().deliver(reply)
        said = reply.decoded
        if reply.status is not Status.PART or said is None or not said.starts:
            return
        self._again = True  # it gets on: this is no request that kills
        for known, output, start in zip(self._tokens, reply.outputs, said.starts, strict=True):
            if start <= len(known):  # else a part was lost, and the reply will have it all
                known.extend(output.array()[len(known) - start :].tolist())
        self._ended = [new or old for new, old in zip(said.notes, self._ended, strict=True)]
        self._news.set()

    async def part(self) -> Part | None:
        """What came since the last call; None when nothing but the reply, or an error, is left to take."""
        await self._news.wait()
        self._news.clear()
        if self.future.done():
            return None
        new = [tokens[told:] for tokens, told in zip(self._tokens, self._told, strict=True)]
        self._told = [len(tokens) for tokens in self._tokens]
        ended, self._ended = self._ended, [{} for _ in self._ended]
        return Part(new, ended)

    def renew(self, number: int) -> bool:
        """The same under a new number: whoever answers to the old one may say something else.

        The predictor goes on from what came so far, and nothing of that is said again.
        """
        search = [
            {**one, "begun": tokens} for one, tokens in zip(self.request.search, self._tokens, strict=True)
        ]
        self.request = msgspec.structs.replace(self.request, id=number, search=search)
        self.number, self.blob, self._holder = number, wire.encode(self.request), ""
        return super().renew(number)
