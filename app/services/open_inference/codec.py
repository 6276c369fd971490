"""Requests and responses of the Open Inference Protocol: bytes to named arrays and back, JSON or binary."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple, NoReturn

import orjson

from app.arrays import Array
from app.errors import Invalid
from app.prediction.request_errors import not_json
from app.services.open_inference.tensors import (
    DTYPES,
    LENGTH_PREFIX,
    TensorHeader,
    cast_to_field,
    check_shape,
    from_bytes,
    from_json,
    to_bytes,
    to_json,
)
from app.tasks.contract import TensorField, may_be_empty
from app.typedefs import Json
from app.validation.json_slices import MAX_JSON_VALUES, has_too_many_values, parse_message
from app.validation.names import nearest_name

MAX_ROWS = 4096
MAX_DIMENSION = 2**31
MAX_TENSORS, MAX_DIMENSIONS = 64, 8  # of a request


class Signature(NamedTuple):
    """The tensors that a model takes and gives; the batch, their first dimension, is not in the shapes."""

    inputs: tuple[TensorField, ...]
    outputs: tuple[TensorField, ...]


class InferenceRequest(NamedTuple):
    """One request: its tensors as arrays in the datatypes of the signature, and the requested outputs."""

    id: str | None
    parameters: Json
    tensors: dict[str, Array]
    rows: int
    outputs: dict[str, bool]  # name -> whether it is returned in binary


class OutputTensor(NamedTuple):
    """The values of one output, and the names of the entries of its last axis if they have any."""

    array: Array
    keys: Sequence[str] | None = None


def parse_inference_request(body: bytes, length: int | None, signature: Signature) -> InferenceRequest:
    """Parse a body whose first `length` bytes are JSON: all of them if None, none of them if 0.

    Raises `Invalid`.
    """
    if length == 0:
        return _parse_raw(body, signature)
    if length is not None and length > len(body):
        _refuse(f"Inference-Header-Content-Length says {length}, the body has {len(body)} bytes")
    message = _parse_json(body if length is None else memoryview(body)[:length])
    rest = memoryview(body)[len(body) if length is None else length :]
    booleans = _may_hold_booleans(body, length)
    fields = {field.name: field for field in signature.inputs}
    tensors: dict[str, Array] = {}
    is_empty = "inputs" not in message and may_be_empty(signature.inputs)
    for entry in [] if is_empty else _inputs(message, fields):
        header = _parse_header(entry)
        field = fields.get(header.name)
        if field is None:
            header.refuse(f"there is no such input; the inputs are {', '.join(fields)}")
        if header.name in tensors:
            header.refuse("given twice")
        check_shape(header, field)
        size = _binary_size(header, entry, length)
        if size is None:
            array = from_json(header, entry.get("data"), booleans=booleans, binary=field.binary)
        else:
            if size > len(rest):
                header.refuse(f"binary_data_size says {size}, {len(rest)} bytes are left in the body")
            array, rest = from_bytes(header, rest[:size], binary=field.binary), rest[size:]
        tensors[header.name] = cast_to_field(header, array, field)
    if len(rest):
        _refuse(f"{len(rest)} bytes behind the last binary tensor belong to none")
    parameters = _parameters(message)
    outputs = _requested_outputs(message, parameters, signature)
    return InferenceRequest(_id(message), parameters, tensors, _count_rows(tensors, signature), outputs)


def write_response(
    model: str,
    version: int,
    request: InferenceRequest,
    tensors: dict[str, OutputTensor],
    signature: Signature,
    warnings: str = "",
) -> tuple[bytes, int | None]:
    """The response, and how many of its bytes are JSON if binary tensors follow them.

    Warnings are a parameter of the response.
    """
    datatypes = {field.name: field.datatype for field in signature.outputs}
    outputs, blobs = [], []
    for name, binary in request.outputs.items():
        array, keys = tensors[name]
        parameters: Json = {} if keys is None else {"keys": join_keys(keys)}
        entry: Json = {"name": name, "datatype": datatypes[name], "shape": array.shape}
        if binary:
            blobs.append(to_bytes(array))
            parameters["binary_data_size"] = len(blobs[-1])
        else:
            entry["data"] = to_json(array)
        outputs.append(entry | {"parameters": parameters} if parameters else entry)
    body: Json = {"model_name": model, "model_version": str(version), "outputs": outputs}
    if request.id is not None:
        body["id"] = request.id
    if warnings:
        body["parameters"] = {"warnings": warnings}
    head = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join((head, *blobs)), len(head) if blobs else None


def join_keys(keys: Sequence[str]) -> str:
    """Keys with commas between them; as a JSON list where a comma, or the first key, would mislead."""
    is_misleading = any("," in key for key in keys) or (keys and keys[0].startswith("["))
    return orjson.dumps(keys).decode() if is_misleading else ",".join(keys)


def _refuse(detail: str) -> NoReturn:
    raise Invalid(detail)


def _parse_json(text: bytes | memoryview) -> Json:
    if has_too_many_values(text):
        _refuse(f"the JSON may have {MAX_JSON_VALUES:,} values; send larger tensors as binary data")
    try:
        message = parse_message(text, "inputs", "data")
    except orjson.JSONDecodeError as error:
        raise not_json(text, error) from None
    if not isinstance(message, dict):
        _refuse("The request is no JSON object")
    return message


def _may_hold_booleans(body: bytes, length: int | None) -> bool:
    """Whether `true` or `false` may be among some data; a search for single letters costs next to nothing."""
    end = len(body) if length is None else length
    begin = body.find(b'"data"', 0, end)
    if begin < 0 or body.find(b"\\", 0, begin) >= 0:  # an escaped key, perhaps
        return True
    return body.find(b"u", begin, end) >= 0 or body.find(b"s", begin, end) >= 0


def _inputs(message: Json, names: Iterable[str]) -> list[Json]:
    """The inputs of a request; without any, the refusal names those of the model."""
    if "inputs" not in message:
        near = nearest_name("inputs", message)
        known = f'"inputs" is missing: the model takes {", ".join(names)}'
        _refuse(known if near is None else f'{known}; there is "{near}"')
    return _objects(message, "inputs")


def _objects(message: Json, key: str) -> list[Json]:
    entries = message.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        _refuse(f'"{key}" is no list of objects')
    if len(entries) > MAX_TENSORS:
        _refuse(f'"{key}" may have {MAX_TENSORS} entries')
    return entries


def _parse_header(entry: Json) -> TensorHeader:
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str):
        _refuse("an input has no name")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        _refuse(f'input "{name}": the datatype is one of {", ".join(DTYPES)}')
    if isinstance(shape, list) and len(shape) > MAX_DIMENSIONS:
        _refuse(f'input "{name}": a shape may have {MAX_DIMENSIONS} dimensions')
    if not isinstance(shape, list) or not all(_is_size(size) for size in shape):
        _refuse(f'input "{name}": the shape is no list of sizes')
    return TensorHeader(name, datatype, tuple(shape))


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < MAX_DIMENSION


def _binary_size(header: TensorHeader, entry: Json, length: int | None) -> int | None:
    """How many bytes behind the JSON are this tensor's; None if its data is in the JSON."""
    parameters = entry.get("parameters")
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        header.refuse("its parameters are no object")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        header.refuse("binary_data_size is no number of bytes")
    if length is None:
        header.refuse("binary data needs the header Inference-Header-Content-Length")
    if "data" in entry:
        header.refuse("has both data and binary_data_size")
    return size


def _parameters(message: Json) -> Json:
    parameters = message.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        _refuse('"parameters" is no object')
    return parameters


def _id(message: Json) -> str | None:
    request_id = message.get("id")
    if request_id is not None and not isinstance(request_id, str):
        _refuse('"id" is no string')
    return request_id


def _requested_outputs(message: Json, parameters: Json, signature: Signature) -> dict[str, bool]:
    """The names of the outputs to return, all by default, and whether each is returned in binary."""
    binary = _flag(parameters, "binary_data_output", default=False)
    known = [field.name for field in signature.outputs]
    if not message.get("outputs"):
        return dict.fromkeys(known, binary)
    outputs: dict[str, bool] = {}
    for entry in _objects(message, "outputs"):
        name, own = entry.get("name"), entry.get("parameters") or {}
        if name not in known:
            _refuse(f"there is no output {orjson.dumps(name).decode()}; the outputs are {', '.join(known)}")
        if name in outputs:
            _refuse(f'output "{name}": asked for twice')
        if not isinstance(own, dict) or own.get("classification"):
            _refuse(f'output "{name}": its parameters may be binary_data, and no others')
        outputs[name] = _flag(own, "binary_data", default=binary)
    return outputs


def _flag(parameters: Json, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        _refuse(f"{name} is true or false")
    return value


def _count_rows(tensors: dict[str, Array], signature: Signature) -> int:
    """The size of the batch; raises `Invalid` unless all tensors agree on it and none is missing."""
    for field in signature.inputs:
        if field.required and field.name not in tensors:
            _refuse(f'input "{field.name}" is missing')
    if not tensors and may_be_empty(signature.inputs):
        return 1
    if not tensors:
        _refuse("the request has no inputs")
    first = next(iter(tensors))
    rows = len(tensors[first])
    for name, array in tensors.items():
        if len(array) != rows:
            _refuse(f'input "{name}": has a batch of {len(array)}, "{first}" one of {rows}')
    if not 0 < rows <= MAX_ROWS:
        _refuse(f"a batch of {rows} rows; it may have 1 to {MAX_ROWS}")
    return rows


def _parse_raw(body: bytes, signature: Signature) -> InferenceRequest:
    """A body that is the data of the only input, or the only required one: one row.

    Its variable size follows from the data.
    """
    single = len(signature.inputs) == 1
    required = [field for field in signature.inputs if field.required or single]
    is_bytes = [field.datatype for field in required] == ["BYTES"]
    if len(required) != 1 or required[0].shape.count(-1) != (0 if is_bytes else 1):
        _refuse("a raw body needs a model with one required input of one variable dimension")
    field = required[0]
    data = LENGTH_PREFIX.pack(len(body)) + body if is_bytes else body
    step = DTYPES[field.datatype].itemsize * -prod(field.shape)
    size = 1 if is_bytes else len(body) // step
    row = (size if expected == -1 else expected for expected in field.shape)
    header = TensorHeader(field.name, field.datatype, (1, *row))
    array = cast_to_field(header, from_bytes(header, memoryview(data), binary=field.binary), field)
    outputs = dict.fromkeys((field.name for field in signature.outputs), True)
    return InferenceRequest(None, {}, {field.name: array}, 1, outputs)
