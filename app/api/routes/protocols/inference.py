"""Inference by the Open Inference Protocol v2, as `tritonclient.http` and KServe's client speak it."""

from app.api.access.declared import requires
from app.api.raw import (
    DEADLINE_PARAMETER,
    JSON_LENGTH_PARAMETER,
    JSON_TYPE,
    MAX_DEADLINE_SECONDS,
    TIMEOUT_HEADER,
    Call,
    Headers,
    RawRoute,
)
from app.api.response_schemas import reference
from app.errors import Invalid
from app.services.access.callers import Scope
from app.services.open_inference.predict import (
    parse_inference_request_async,
    run_network,
    run_task,
    signature,
    split_name,
    version_selector,
    write_response_async,
)
from app.typedefs import Json

BINARY_TYPE = (b"content-type", b"application/octet-stream")
DESCRIPTION = """The outputs for one batch of input tensors, JSON or binary, all by one version.

`{model}` is the task with its own fields as tensors, `{model}:network` the exported graph itself. An input
may have any numeric datatype that its own can hold: floats are rounded, nothing overflows. `lengths` says how
many steps of each row count; what follows is padding. `null`, or NaN, is a missing value where the task knows
such. An empty text leaves an optional field out, unless the row has no other field. BYTES are UTF-8, or,
where a task's field holds files, any bytes in binary data and base64 in JSON. A version is a number or an
alias. Warnings, such as of covariates that the model was trained with, are lines of the response's parameter
`warnings`."""


@requires(Scope.PREDICT)
async def infer(call: Call) -> tuple[bytes, Headers]:
    """The outputs for one batch of input tensors, all by one version."""
    name, service = call.parameters["model"], call.shared.predictions
    resolved = await service.versions.choose(version_selector(name, call.parameters.get("version")))
    service.admit(resolved.route)
    network = split_name(name)[1]
    tensors = signature(resolved.route, network=network)
    seconds = call.deadline()
    request = await parse_inference_request_async(call.body, call.json_length(), tensors, call.left(seconds))
    seconds = _deadline(request.parameters, call)
    call.allow(seconds)
    left, warnings = call.left(seconds), ""
    if network:
        outputs, answer = await run_network(service, resolved.route, request, left)
    else:
        outputs, answer, warnings = await run_task(service, resolved, request, left, len(call.body))
    described = (name, resolved.route.version, request, outputs, tensors, warnings)
    content, length = await write_response_async(*described, call.left(seconds))
    headers = [JSON_TYPE if length is None else BINARY_TYPE, call.timing(answer)]
    if length is not None:
        headers.append((b"inference-header-content-length", b"%d" % length))
    return content, headers


def _deadline(parameters: Json, call: Call) -> float:
    """Seconds the request may take: by its parameter `timeout`, in microseconds, or its header if less.

    Without either it may take as long as any.
    """
    microseconds = parameters.get("timeout")
    if microseconds is not None and (type(microseconds) is not int or microseconds < 0):
        raise Invalid('parameter "timeout": takes a whole number of microseconds')
    if not microseconds:
        return call.deadline()
    longest = call.deadline() if TIMEOUT_HEADER in call.headers else MAX_DEADLINE_SECONDS
    return float(min(microseconds / 1e6, longest))


def _operation(path: str) -> Json:
    """The OpenAPI operation of one of the paths."""
    names = [name for name in ("model", "version") if f"{{{name}}}" in path]
    tensors = {"type": "string", "format": "binary", "description": "JSON, and the tensors' bytes behind it."}
    return {
        "tags": ["open inference protocol"],
        "summary": "Infer",
        "description": DESCRIPTION,
        "operationId": "_".join(["infer", *names]),
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
            JSON_LENGTH_PARAMETER,
            DEADLINE_PARAMETER,
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": reference("InferRequest")},
                "application/octet-stream": {"schema": tensors},
            },
        },
        "responses": {
            "200": {
                "description": "The outputs",
                "content": {
                    "application/json": {"schema": reference("InferResponse")},
                    "application/octet-stream": {"schema": tensors},
                },
            },
        },
    }


ROUTES = tuple(
    RawRoute(path, infer, _operation(path))
    for path in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")
)
