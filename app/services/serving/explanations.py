"""Explanations of single predictions: sent to the serving worker by a lane of their own."""

from contextlib import suppress
from dataclasses import dataclass

import orjson

from app.errors import AppError, Invalid
from app.lanes import Answer, Lane
from app.prediction.explanation_request import parse_explanation_request, read_explanation_request
from app.prediction.request_parsing import MAX_INLINE_BYTES
from app.services.serving.explanation_chart import draw
from app.services.serving.metrics import PredictionMetrics
from app.services.serving.version_router import Route, VersionRouter
from app.thread_pools import COMPUTING

MAX_WAITING, MAX_WAITING_SECONDS = 64, 10.0  # requests in the lane, and what they take, before status 429


@dataclass(frozen=True)
class ExplanationService:
    """What explanations are made with: the versions, the lane to the explainers, and the counters."""

    lane: Lane
    versions: VersionRouter
    metrics: PredictionMetrics

    async def explain(self, route: Route, body: bytes, seconds: float) -> Answer:
        """The explanation, as `predictions` of the answer, of the one instance in a body that was checked.

        Raises what the lane raises, and `Invalid` about an instance that cannot be encoded.
        """
        metrics = self.metrics.of_version(route.model, route.version)
        try:
            answer = await self.lane.send_body(route.artifact, body, 1, seconds)
        except Invalid:  # which says nothing of the version
            raise
        except AppError:
            metrics.record_explanation(succeeded=False)
            raise
        metrics.record_explanation(succeeded=True)
        return answer


async def check_explanation_request_async(route: Route, body: bytes, seconds: float) -> None:
    """Raise what `read_explanation_request` does; what is large, or has other names, is read in a thread."""
    if len(body) <= MAX_INLINE_BYTES:
        with suppress(Invalid):
            parse_explanation_request(route.task, body)
            return
    arguments = (route.task, route.state, route.columns, body)
    await COMPUTING.run_within(seconds, read_explanation_request, *arguments)


async def draw_async(route: Route, explanation: bytes, seconds: float) -> bytes:
    """The explanation as SVG, drawn in a thread."""
    return await COMPUTING.run_within(seconds, _draw, route, explanation)


def _draw(route: Route, explanation: bytes) -> bytes:
    return draw(f"{route.model} version {route.version}", orjson.loads(explanation)).encode()


def write_explanation(route: Route, explanation: bytes) -> bytes:
    """The body of an answer."""
    head = orjson.dumps({"model": route.model, "version": route.version})
    return b"%s,%s" % (head[:-1], explanation[1:])
