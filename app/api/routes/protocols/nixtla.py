"""The interface of TimeGPT as far as the package `nixtla` needs it: `NixtlaClient(base_url="…/nixtla")`."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response

from app.api.access.declared import requires
from app.api.deps import StateDep
from app.api.protocol_schemas import NixtlaKeyOut, NixtlaModelOut
from app.api.raw import DEADLINE_PARAMETER, JSON_TYPE, Body, Call, Headers, RawRoute
from app.api.response_schemas import documented, reference
from app.prediction.request_parsing import MAX_INLINE_BYTES
from app.services.access.callers import Scope
from app.services.nixtla.forecasts import choose_model, cross_validate, describe_model, forecast
from app.services.nixtla.requests import (
    MAX_MODEL_NAME_CHARS,
    NixtlaCrossValidationIn,
    NixtlaForecastIn,
    parse_series_request,
)
from app.thread_pools import COMPUTING
from app.typedefs import Json

router = APIRouter(prefix="/nixtla", tags=["nixtla"])

Name = Annotated[str, Query(max_length=MAX_MODEL_NAME_CHARS)]


@router.get("/validate_api_key", responses=documented(NixtlaKeyOut), operation_id="get_nixtla_key")
@requires(Scope.READ)
async def validate_api_key() -> Response:
    """That the key is one of this service; without it the answer is `401`."""
    body = {"message": "success", "detail": "The key is valid"}
    return Response(orjson.dumps(body), media_type="application/json")


@router.get("/model_params", responses=documented(NixtlaModelOut), operation_id="get_nixtla_model")
@requires(Scope.READ)
async def model_params(shared: StateDep, model: Name = "timegpt-1", freq: Name = "") -> Response:
    """How many values of a series a model reads, and how far ahead it forecasts."""
    del freq  # a forecast checks it, with the series
    resolved = await choose_model(shared.predictions, shared.readers, model)
    return Response(orjson.dumps(describe_model(resolved.route)), media_type="application/json")


@requires(Scope.PREDICT)
async def forecast_series(call: Call) -> tuple[Body, Headers]:
    """Forecast series."""
    return await _answer(call, NixtlaForecastIn, forecast)


@requires(Scope.PREDICT)
async def cross_validate_series(call: Call) -> tuple[Body, Headers]:
    """Forecast windows of series in the past."""
    return await _answer(call, NixtlaCrossValidationIn, cross_validate)


async def _answer(call: Call, kind: Any, answer: Any) -> tuple[Body, Headers]:
    seconds, shared = call.deadline(), call.shared
    if len(call.body) <= MAX_INLINE_BYTES:
        request = parse_series_request(kind, call.body)
    else:
        request = await COMPUTING.run_within(seconds, parse_series_request, kind, call.body)
    resolved = await choose_model(shared.predictions, shared.readers, request.model)
    shared.predictions.admit(resolved.route)
    return await answer(shared.predictions, resolved, request, seconds, call.started), [JSON_TYPE]


def _operation(name: str, description: str, answer: str) -> Json:
    return {
        "tags": ["nixtla"],
        "description": description,
        "operationId": name,
        "parameters": [DEADLINE_PARAMETER],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference(f"{answer}In")}},
        },
        "responses": {
            "200": {
                "description": "The forecasts",
                "content": {"application/json": {"schema": reference(f"{answer}Out")}},
            }
        },
    }


FORECAST_OPERATION = _operation(
    "predict_nixtla_series",
    "Forecasts of series by one version, in the form of TimeGPT's `v2/forecast`.",
    "NixtlaForecast",
)
CROSS_VALIDATION_OPERATION = _operation(
    "predict_nixtla_windows",
    "Forecasts of the last windows of series, each from what was known before it.",
    "NixtlaCrossValidation",
)
ROUTES = (
    RawRoute("/nixtla/v2/forecast", forecast_series, FORECAST_OPERATION),
    RawRoute("/nixtla/v2/cross_validation", cross_validate_series, CROSS_VALIDATION_OPERATION),
)
