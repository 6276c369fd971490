"""Predictions: the hot path, without the database, dependency injection of bodies, or a response model."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from app.api.deps import HouseDep
from app.errors import Invalid, Problem, TooLarge
from app.schemas import VersionNumber
from app.services.predictions import Wanted, predict

router = APIRouter(prefix="/v1/models", tags=["predictions"])

DEADLINE, LONGEST = 30.0, 300.0


@router.post("/{name}/predict")
async def predict_with(
    name: str,
    request: Request,
    shared: HouseDep,
    version: VersionNumber | None = None,
    alias: str | None = None,
    x_request_timeout: Annotated[float | None, Header(gt=0, le=LONGEST)] = None,
) -> Response:
    """One prediction per instance, in order, all by one version."""
    if version is not None and alias is not None:
        raise Invalid(problems=[Problem("/query/alias", "name a version or an alias, not both")])
    body = await _body(request, shared.limits.request_bytes)
    route = await shared.catalog.route(Wanted(name, version, alias))
    answered, answer = await predict(shared.lane, route, body, x_request_timeout or DEADLINE)
    timing = f"queue;dur={1000 * answer.queue_seconds:.2f}, compute;dur={1000 * answer.compute_seconds:.2f}"
    return Response(answered, headers={"Server-Timing": timing}, media_type="application/json")


async def _body(request: Request, limit: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"A prediction request may have {limit} bytes")
        parts.append(part)
    return b"".join(parts)
