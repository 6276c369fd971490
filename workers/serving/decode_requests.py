"""Requests that are decoded step by step: together, beside whatever else the predictor does."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from app.lanes import Decoded, Reply, Request, Status, Tensor
from app.lanes.wire import INTS
from app.tasks.contract import Found
from workers.decoding.sampling import Sampler
from workers.decoding.scheduler import Crowd
from workers.decoding.sequence import Decoder, Quest
from workers.serving.batching import MALFORMED, failed

logger = logging.getLogger(__name__)

TURN_SECONDS = 0.002  # between two looks at the lane; a step may take longer
PART_SECONDS = 0.02  # between two parts of an answer
WHOLE = "This model answers at once: its instances take no search."

Replies = list[tuple[str, Reply]]


class Session:
    """A request on its way to its reply."""

    def __init__(self, request: Request, decoder: Decoder, crowd: Crowd) -> None:
        self.request, self.crowd = request, crowd
        self.quests = [
            Quest(tensor.array(), search, decoder.watch)
            for tensor, search in zip(request.instances, request.search, strict=True)
        ]
        self._told = [len(_sampled(quest)) for quest in self.quests]  # tokens that were sent
        self._over: set[int] = set()  # instances whose end was sent
        self._due = 0.0  # when the next part may leave

    def part(self, boot: str, now: float) -> Reply | None:
        """What is new, if that is wanted and the last part left a while ago; the first leaves at once."""
        if not self.request.parts or now < self._due:
            return None
        new, notes = [], []
        for index, quest in enumerate(self.quests):
            new.append(_sampled(quest)[self._told[index] :])
            over = quest.found is not None and index not in self._over
            notes.append(quest.found.note if over and quest.found is not None else {})
        if not any(new) and not any(notes):
            return None
        starts, self._told = (
            self._told,
            [told + len(some) for told, some in zip(self._told, new, strict=True)],
        )
        self._over.update(index for index, note in enumerate(notes) if note)
        self._due = now + PART_SECONDS
        outputs = [Tensor.of(np.array(some, np.int64)) for some in new]
        return Reply(self.request.id, Status.PART, outputs, decoded=Decoded(notes, 0, starts, boot))

    def reply(self) -> Reply | None:
        """The answer, once everything is found."""
        found = [quest.found for quest in self.quests]
        if None in found:
            return None
        return self._answer([one for one in found if one is not None])

    def _answer(self, found: list[Found]) -> Reply:
        begun = [quest.begun for quest in self.quests if quest.begun is not None]
        effort = self.crowd.effort - min(begun, key=lambda one: one.passes, default=self.crowd.effort)
        return Reply(
            self.request.id,
            Status.OK,
            [Tensor.of(one.tokens) for one in found],
            max(0.0, min((one.at for one in begun), default=self.request.sent) - self.request.sent),
            effort.seconds,
            batch=round(effort.quests / effort.passes) if effort.passes else 0,
            decoded=Decoded([one.note for one in found], effort.passes),
        )


def _sampled(quest: Quest) -> list[int]:
    """The tokens so far that nothing will change; those of a beam may be others at its next step."""
    return quest.seeker.tokens if isinstance(quest.seeker, Sampler) else []


class Sessions:
    """All of them, of all versions. The clock is asked before each pass."""

    def __init__(self, boot: str, clock: Callable[[], float] = time.time) -> None:
        self._boot, self._clock = boot, clock
        self._sessions: dict[tuple[str, int], Session] = {}  # by reply list and number
        self._crowds: dict[int, Crowd] = {}  # by what is asked

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, requests: Iterable[Request], decoder: Decoder | None) -> Replies:
        """Take requests of one version; tells who has taken which, and refuses what cannot be decoded."""
        replies = []
        for request in requests:
            status, message = self._take(request, decoder)
            decoded = Decoded([], 0, [], self._boot) if status is Status.PART else None
            replies.append((request.reply, Reply(request.id, status, message=message, decoded=decoded)))
        return replies

    def _take(self, request: Request, decoder: Decoder | None) -> tuple[Status, str]:
        if decoder is None:
            return Status.ERROR, WHOLE
        if not all(tensor.kind == INTS and len(tensor.shape) == 2 for tensor in request.instances):
            return Status.ERROR, MALFORMED
        crowd = self._crowds.get(id(decoder.stepper))
        crowd = Crowd(decoder.stepper, self._clock) if crowd is None else crowd
        try:
            session = Session(request, decoder, crowd)
        except (KeyError, TypeError, ValueError) as error:
            return failed(error)
        self.drop([(request.reply, request.id)])  # it may come twice
        self._crowds[id(decoder.stepper)] = crowd
        self._sessions[request.reply, request.id] = session
        for quest in session.quests:
            crowd.add(quest)
        return Status.PART, ""

    def drop(self, requests: Iterable[tuple[str, int]]) -> None:
        """Forget requests, if they are here."""
        for key in requests:
            if (session := self._sessions.pop(key, None)) is not None:
                session.crowd.drop(session.quests)

    def turn(self) -> Iterator[Replies]:
        """Go on for a moment, with at least one step for each version; replies as they come about."""
        begun = time.perf_counter()
        while self._sessions:
            for crowd in list(self._crowds.values()):
                for act in (crowd.read, crowd.step):
                    yield from self._act(crowd, act)
            asked = {id(session.crowd) for session in self._sessions.values()}
            self._crowds = {key: crowd for key, crowd in self._crowds.items() if id(crowd) in asked}
            if time.perf_counter() - begun > TURN_SECONDS:
                return

    def _act(self, crowd: Crowd, act: Callable[[], bool]) -> Iterator[Replies]:
        """One pass, and what is to be said after it."""
        now = self._clock()
        if replies := self._expire(now):
            yield replies
        try:
            act()
        except Exception as error:
            logger.exception("a step failed")
            yield self._fail(crowd, error)
            return
        if replies := self._look(crowd):
            yield replies

    def _look(self, crowd: Crowd) -> Replies:
        """Parts, and replies of those that have ended."""
        replies: Replies = []
        now = time.perf_counter()
        for key, session in list(self._sessions.items()):
            if session.crowd is not crowd:
                continue
            if (reply := session.reply()) is not None:
                del self._sessions[key]
            else:
                reply = session.part(self._boot, now)
            if reply is not None:
                replies.append((key[0], reply))
        return replies

    def _expire(self, now: float) -> Replies:
        late = [key for key, session in self._sessions.items() if now >= session.request.deadline]
        self.drop(late)
        return [(reply, Reply(number, Status.EXPIRED)) for reply, number in late]

    def _fail(self, crowd: Crowd, error: Exception) -> Replies:
        status, message = failed(error)
        lost = [key for key, session in self._sessions.items() if session.crowd is crowd]
        for key in lost:
            del self._sessions[key]
        self._crowds = {key: one for key, one in self._crowds.items() if one is not crowd}
        return [(reply, Reply(number, status, message=message)) for reply, number in lost]
