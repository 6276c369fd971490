"""Requests that are decoded step by step: all together, between the other work of the predictor."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from app.lanes import DecodingInfo, Reply, ReplyStatus, Request, Tensor
from app.lanes.wire import INT_KIND
from app.tasks.contract import DecodedTokens
from workers.decoding.sampling import Sampler
from workers.decoding.scheduler import ContinuousBatch
from workers.decoding.sequence import Decoder, DecodingSequence
from workers.serving.batching import MALFORMED, Replies, describe_failure

logger = logging.getLogger(__name__)

TURN_SECONDS = 0.002  # how long decoding goes on before the lane is read again; one step may take longer
PARTIAL_REPLY_SECONDS = 0.02  # between two partial replies to one request
NOT_STEPWISE = "This model answers at once: its instances take no decoding settings."


class DecodeRequest:
    """One request, the sequences that are decoded for its instances, and what has been sent of them."""

    def __init__(self, request: Request, decoder: Decoder, batch: ContinuousBatch) -> None:
        self.request, self.batch = request, batch
        self.sequences = [
            DecodingSequence(tensor.array(), settings, decoder.stop_criteria)
            for tensor, settings in zip(request.instances, request.decoding, strict=True)
        ]
        self._sent = [len(_final_tokens(sequence)) for sequence in self.sequences]  # tokens of each
        self._ends_sent: set[int] = set()  # indices of the instances whose end was sent
        self._next_part = 0.0  # when the next partial reply may be sent

    def partial_reply(self, instance_id: str, now: float) -> Reply | None:
        """The tokens since the last partial reply; None if there are none, or none are requested or due."""
        if not self.request.stream or now < self._next_part:
            return None
        new, notes = [], []
        for index, sequence in enumerate(self.sequences):
            new.append(_final_tokens(sequence)[self._sent[index] :])
            ends = sequence.result is not None and index not in self._ends_sent
            notes.append(sequence.result.note if ends and sequence.result is not None else {})
        if not any(new) and not any(notes):
            return None
        starts = self._sent
        self._sent = [start + len(tokens) for start, tokens in zip(starts, new, strict=True)]
        self._ends_sent.update(index for index, note in enumerate(notes) if note)
        self._next_part = now + PARTIAL_REPLY_SECONDS
        outputs = [Tensor.of(np.array(tokens, np.int64)) for tokens in new]
        info = DecodingInfo(notes, 0, starts, instance_id)
        return Reply(self.request.id, ReplyStatus.PARTIAL, outputs, decoded=info)

    def final_reply(self) -> Reply | None:
        """The answer; None until all sequences have ended."""
        results = [sequence.result for sequence in self.sequences]
        if None in results:
            return None
        return self._answer([result for result in results if result is not None])

    def _answer(self, results: list[DecodedTokens]) -> Reply:
        total, sent = self.batch.usage, self.request.sent
        started = [sequence.started for sequence in self.sequences if sequence.started is not None]
        usage = total - min(started, key=lambda one: one.passes, default=total)
        return Reply(
            self.request.id,
            ReplyStatus.OK,
            [Tensor.of(result.tokens) for result in results],
            max(0.0, min((one.at for one in started), default=sent) - sent),
            usage.seconds,
            batch=round(usage.sequences / usage.passes) if usage.passes else 0,
            decoded=DecodingInfo([result.note for result in results], usage.passes),
        )


def _final_tokens(sequence: DecodingSequence) -> list[int]:
    """The tokens so far that will not change; none of a beam search, whose next step may change them all."""
    return sequence.strategy.tokens if isinstance(sequence.strategy, Sampler) else []


class DecodeRequests:
    """All requests of all versions that are being decoded. `clock` is called before each pass."""

    def __init__(self, instance_id: str, clock: Callable[[], float] = time.time) -> None:
        self._instance_id, self._clock = instance_id, clock
        self._requests: dict[tuple[str, int], DecodeRequest] = {}  # by reply list and request id
        self._batches: dict[int, ContinuousBatch] = {}  # by the identity of their step model

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, requests: Iterable[Request], decoder: Decoder | None) -> Replies:
        """Start decoding requests for one version; replies with an acknowledgement or a refusal to each."""
        replies = []
        for request in requests:
            status, message = self._start(request, decoder)
            info = DecodingInfo([], 0, [], self._instance_id) if status is ReplyStatus.PARTIAL else None
            replies.append((request.reply_to, Reply(request.id, status, message=message, decoded=info)))
        return replies

    def _start(self, request: Request, decoder: Decoder | None) -> tuple[ReplyStatus, str]:
        if decoder is None:
            return ReplyStatus.ERROR, NOT_STEPWISE
        if not all(tensor.kind == INT_KIND and len(tensor.shape) == 2 for tensor in request.instances):
            return ReplyStatus.ERROR, MALFORMED
        batch = self._batches.get(id(decoder.model))
        batch = ContinuousBatch(decoder.model, self._clock) if batch is None else batch
        try:
            decoding = DecodeRequest(request, decoder, batch)
        except (KeyError, TypeError, ValueError) as error:
            return describe_failure(error)
        self.drop([(request.reply_to, request.id)])  # a request may be received twice
        self._batches[id(decoder.model)] = batch
        self._requests[request.reply_to, request.id] = decoding
        for sequence in decoding.sequences:
            batch.add(sequence)
        return ReplyStatus.PARTIAL, ""

    def drop(self, requests: Iterable[tuple[str, int]]) -> None:
        """Stop decoding requests, named by reply list and id; unknown ones are ignored."""
        for key in requests:
            if (decoding := self._requests.pop(key, None)) is not None:
                decoding.batch.remove(decoding.sequences)

    def advance(self) -> Iterator[Replies]:
        """Decode for a moment, at least one step of each version; yields replies as they become due."""
        begun = time.perf_counter()
        while self._requests:
            for batch in list(self._batches.values()):
                for run_pass in (batch.prefill, batch.step):
                    yield from self._advance_batch(batch, run_pass)
            in_use = {id(decoding.batch) for decoding in self._requests.values()}
            self._batches = {key: batch for key, batch in self._batches.items() if id(batch) in in_use}
            if time.perf_counter() - begun > TURN_SECONDS:
                return

    def _advance_batch(self, batch: ContinuousBatch, run_pass: Callable[[], bool]) -> Iterator[Replies]:
        """Run one pass of a batch; yields the replies that are due before and after it."""
        now = self._clock()
        if replies := self._expire(now):
            yield replies
        try:
            run_pass()
        except Exception as error:
            logger.exception("a decoding step failed")
            yield self._fail(batch, error)
            return
        if replies := self._due_replies(batch):
            yield replies

    def _due_replies(self, batch: ContinuousBatch) -> Replies:
        """Final replies to the batch's requests that have ended, and partial ones to the others."""
        replies: Replies = []
        now = time.perf_counter()
        for key, decoding in list(self._requests.items()):
            if decoding.batch is not batch:
                continue
            if (reply := decoding.final_reply()) is not None:
                del self._requests[key]
            else:
                reply = decoding.partial_reply(self._instance_id, now)
            if reply is not None:
                replies.append((key[0], reply))
        return replies

    def _expire(self, now: float) -> Replies:
        late = [key for key, decoding in self._requests.items() if now >= decoding.request.deadline]
        self.drop(late)
        return [(reply_to, Reply(request_id, ReplyStatus.EXPIRED)) for reply_to, request_id in late]

    def _fail(self, batch: ContinuousBatch, error: Exception) -> Replies:
        """Drop a batch whose step raised an error; replies to its requests."""
        status, message = describe_failure(error)
        lost = [key for key, decoding in self._requests.items() if decoding.batch is batch]
        for key in lost:
            del self._requests[key]
        self._batches = {key: one for key, one in self._batches.items() if one is not batch}
        return [(reply_to, Reply(request_id, status, message=message)) for reply_to, request_id in lost]
