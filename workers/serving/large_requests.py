"""Requests that fill more than a batch: computed one batch at a time, between the predictor's other work."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from app.lanes import Request
from workers.inference.engines import Engine
from workers.serving.batching import Replies, answer_by_batches

Key = tuple[str, int]  # reply list and id of a request


@dataclass(frozen=True)
class _Computation:
    """A request and the rest of its batches."""

    key: Key
    batches: Iterator[Replies]


class LargeRequests:
    """Takes turns among requests of all versions. `clock` is called before each batch."""

    def __init__(self, max_rows: int, clock: Callable[[], float] = time.time) -> None:
        self._max_rows, self._clock = max_rows, clock
        self._waiting = deque[_Computation]()

    def __len__(self) -> int:
        return len(self._waiting)

    def take_from(self, requests: Iterable[Request], engine: Engine) -> list[Request]:
        """Take the large ones of requests for one version, and return the others."""
        others = list[Request]()
        for request in requests:
            if self._is_large(request, engine):
                self._add(request, engine)
            else:
                others.append(request)
        return others

    def _is_large(self, request: Request, engine: Engine) -> bool:
        """Whether a request has more rows, or steps, than a batch."""
        instances = request.instances
        if len(instances) > self._max_rows:
            return True
        return sum(tensor.shape[0] for tensor in instances if tensor.shape) > engine.pace.most

    def _add(self, request: Request, engine: Engine) -> None:
        key = request.reply_to, request.id
        self.drop([key])  # a request may be received twice
        batches = answer_by_batches([request], engine, self._max_rows, self._clock)
        self._waiting.append(_Computation(key, batches))

    def drop(self, requests: Iterable[Key]) -> None:
        """Compute nothing more for requests; unknown ones are ignored."""
        keys = set(requests)
        if any(one.key in keys for one in self._waiting):
            self._waiting = deque(one for one in self._waiting if one.key not in keys)

    def advance(self) -> Iterator[Replies]:
        """Compute one batch of the request whose last one is longest ago; yields the reply, if it is due."""
        if self._waiting:
            computation = self._waiting.popleft()
            replies = next(computation.batches, None)
            if replies is not None:
                self._waiting.append(computation)
                if replies:
                    yield replies
