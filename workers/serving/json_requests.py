"""Requests that come as JSON: those that meet in a predictor are encoded, and decoded, together."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from app.errors import Invalid
from app.lanes import Reply, ReplyStatus, Request, Tensor
from app.prediction.codec import Codec, write_predictions
from app.prediction.request_errors import request_described
from app.prediction.request_parsing import parse_request
from app.prediction.together import Share, run_together
from app.tasks.contract import Example
from workers.serving.batching import Replies, describe_failure, expire_requests

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What decoding needs of a request."""

    examples: Sequence[Example]
    parameters: Any


class JsonRequests:
    """The JSON requests of one turn for one version, on their way through its network."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._encoded: dict[tuple[str, int], _Encoded] = {}  # by reply list and id
        self._row_seconds = 0.0  # that encoding one row took

    def encode(self, requests: Sequence[Request], now: float) -> tuple[list[Request], Replies]:
        """The requests with the tensors that the network reads; second the replies to those that end here."""
        begun, live, shares, ended = time.perf_counter(), list[Request](), list[Share](), Replies()
        for request in requests:
            if now >= request.deadline:
                ended += expire_requests([request])
                continue
            try:
                content = parse_request(self._codec.task, request.body)
            except Invalid as error:
                ended.append(_refusal(request, error))
            else:
                live.append(request)
                shares.append(Share(content.instances, content.parameters))
        results = run_together(self._encode_described, shares)
        encoded = list[Request]()
        for request, share, result in zip(live, shares, results, strict=True):
            if isinstance(result, Exception):
                ended.append(_refusal(request, result))
                continue
            self._encoded[request.reply_to, request.id] = _Encoded(result, share.parameters)
            instances = [Tensor.of(example.inputs) for example in result]
            encoded.append(msgspec.structs.replace(request, instances=instances))
        self._row_seconds = (time.perf_counter() - begun) / max(sum(one.rows for one in encoded), 1)
        return encoded, ended

    def decode(self, replies: Replies) -> Replies:
        """The replies of one batch, with predictions instead of the outputs of requests that came as JSON."""
        begun, decoded, shares = time.perf_counter(), list[tuple[str, Reply]](), list[Share]()
        rest = list[tuple[str, Reply]]()
        for to, reply in replies:
            encoded = self._encoded.get((to, reply.id))  # of a request that was sent again, twice
            if encoded is None or reply.status is not ReplyStatus.OK:
                rest.append((to, reply))
                continue
            decoded.append((to, reply))
            pairs = list(zip(encoded.examples, reply.outputs, strict=True))
            shares.append(Share(pairs, encoded.parameters))
        written = list(_written(run_together(self._decode_pairs, shares)))
        elapsed = time.perf_counter() - begun
        for (to, reply), predictions in zip(decoded, written, strict=True):
            if isinstance(predictions, Exception):
                rest.append((to, _failure(reply.id, predictions)))
                continue
            seconds = reply.compute_seconds + self._row_seconds * reply.batch + elapsed
            own: Any = {"outputs": [], "compute_seconds": seconds, "predictions": predictions}
            rest.append((to, msgspec.structs.replace(reply, **own)))
        return rest

    def _encode_described(self, instances: Sequence[Any], parameters: Any) -> list[Example]:
        with request_described(self._codec.task):
            return self._codec.encode(instances, parameters)

    def _decode_pairs(self, pairs: Sequence[tuple[Example, Tensor]], parameters: Any) -> list[Any]:
        examples, outputs = zip(*pairs, strict=True)
        return self._codec.decode(examples, [output.array() for output in outputs], parameters)


def _written(results: Sequence[list[Any] | Exception]) -> Iterator[bytes | Exception]:
    """The JSON of the predictions of each request."""
    for result in results:
        yield result if isinstance(result, Exception) else write_predictions(result)


def _refusal(request: Request, error: Exception) -> tuple[str, Reply]:
    if isinstance(error, Invalid):
        invalid = Reply(request.id, ReplyStatus.INVALID, message=error.message, problems=error.problems)
        return request.reply_to, invalid
    return request.reply_to, _failure(request.id, error)


def _failure(request_id: int, error: Exception) -> Reply:
    logger.error("a request could not be encoded or decoded", exc_info=error)
    status, message = describe_failure(error)
    return Reply(request_id, status, message=message)
