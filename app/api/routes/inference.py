"""Inference by the Open Inference Protocol v2, as `tritonclient.http` and KServe's client speak it."""

import asyncio
import zlib

from app.api.problems import ERRORS
from app.api.raw import JSON_TYPE, LONGEST, Call, Headers, RawRoute
from app.errors import Invalid, TooLarge
from app.services.open_inference.codec import read, write
from app.services.open_inference.predict import parted, run_graph, run_task, signature, wanted
from app.services.serving.predictions import admit
from app.typedefs import Json

LARGE, LARGE_BINARY = 1 << 18, 1 << 21  # bytes of JSON, and in all, from which on a body is read off the loop
BINARY_TYPE = (b"content-type", b"application/octet-stream")
GZIP_OR_ZLIB = 47  # of zlib's window bits
DESCRIPTION = """The outputs for one batch of input tensors, JSON or binary, all by one version.

`{model}` is the task with its own fields as tensors, `{model}:network` the exported graph itself. An input
may have any numeric datatype that its own can hold: floats are rounded, nothing overflows. `lengths` says how
many steps of each row count; what follows is padding. `null`, or NaN, is a missing value where the task knows
such, and an empty text leaves an optional field out. A version is a number or an alias."""
KINDS = ("application/json", "application/octet-stream")


async def infer(call: Call) -> tuple[bytes, Headers]:
    """The outputs for one batch of input tensors, all by one version."""
    name, plane = call.parameters["model"], call.house.plane
    chosen = await plane.catalog.choose(wanted(name, call.parameters.get("version")))
    admit(plane, chosen.route)
    network = parted(name)[1]
    tensors = signature(chosen.route, network=network)
    body, length = await _plain(call), call.json_length()
    large = (len(body) if length is None else length) >= LARGE or len(body) >= LARGE_BINARY
    asked = await asyncio.to_thread(read, body, length, tensors) if large else read(body, length, tensors)
    seconds = _seconds(call, asked.parameters)
    if network:
        told, answer = await run_graph(plane, chosen.route, asked, seconds)
    else:
        told, answer = await run_task(plane, chosen, asked, seconds)
    written, header = write(name, chosen.route.version, asked, told, tensors)
    headers = [JSON_TYPE if header is None else BINARY_TYPE, call.timing(answer)]
    if header is not None:
        headers.append((b"inference-header-content-length", b"%d" % header))
    return written, headers


async def _plain(call: Call) -> bytes:
    """The body without its `Content-Encoding`."""
    encoding = call.headers.get(b"content-encoding", b"identity").lower()
    if encoding == b"identity":
        return call.body
    if encoding not in (b"gzip", b"deflate"):
        raise Invalid("Content-Encoding may be gzip, deflate or identity")
    return await asyncio.to_thread(inflated, call.body, call.house.limits.request_bytes)


def inflated(body: bytes, limit: int) -> bytes:
    """A gzip or zlib stream, unpacked; raises `TooLarge` before it takes more than `limit` bytes."""
    stream = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        found = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise Invalid(f"The body cannot be decompressed: {error}") from None
    if len(found) > limit:
        raise TooLarge(f"A prediction request may have {limit} bytes, decompressed")
    if not stream.eof or stream.unused_data:
        raise Invalid("The body is not one whole compressed stream")
    return found


def _seconds(call: Call, parameters: Json) -> float:
    """How long the request may take: its `timeout` in microseconds, `X-Request-Timeout`, or the default."""
    micros = parameters.get("timeout")
    if micros is not None and (type(micros) is not int or micros < 0):
        raise Invalid('parameter "timeout": takes a whole number of microseconds')
    if micros:
        return float(min(micros / 1e6, LONGEST))
    return call.deadline()


def _documented(path: str) -> Json:
    names = [name for name in ("model", "version") if f"{{{name}}}" in path]
    whole = {"type": "object", "description": "An inference request of the Open Inference Protocol v2."}
    return {
        "tags": ["open inference protocol"],
        "summary": "Infer",
        "description": DESCRIPTION,
        "operationId": "_".join(["infer", *names]),
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
            {"name": "Inference-Header-Content-Length", "in": "header", "schema": {"type": "integer"}},
            {"name": "X-Request-Timeout", "in": "header", "schema": {"type": "number", "maximum": LONGEST}},
        ],
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": whole} for kind in KINDS},
        },
        "responses": {
            "200": {
                "description": "The outputs",
                "content": {"application/json": {}, "application/octet-stream": {}},
            },
            **{str(status): told for status, told in ERRORS.items()},
        },
    }


ROUTES = tuple(
    RawRoute(path, infer, _documented(path))
    for path in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")
)
