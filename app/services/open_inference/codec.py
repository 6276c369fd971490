"""Requests and answers of the Open Inference Protocol: bytes to named arrays and back, JSON or binary."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple, NoReturn

import orjson

from app.errors import Invalid
from app.services.open_inference.tensors import (
    DTYPES,
    LENGTH,
    Head,
    cast,
    check_shape,
    from_bytes,
    from_json,
    to_bytes,
    to_json,
)
from app.tasks.contract import Array, TensorField
from app.typedefs import Json

MAX_ROWS = 4096
LARGEST = 2**31  # of one dimension
NO_JSON = "The body is not JSON"


class Signature(NamedTuple):
    """The tensors that a model takes and gives; the batch, their first dimension, is not in the shapes."""

    inputs: tuple[TensorField, ...]
    outputs: tuple[TensorField, ...]


class Asked(NamedTuple):
    """One request: its tensors as arrays in the datatypes of the signature, and how to answer."""

    id: str | None
    parameters: Json
    tensors: dict[str, Array]
    rows: int
    outputs: dict[str, bool]  # name -> whether it is answered in binary


class Told(NamedTuple):
    """One output: its values, and what the entries of its last axis are called if they have names."""

    array: Array
    keys: Sequence[str] | None = None


def read(body: bytes, length: int | None, signature: Signature) -> Asked:
    """Read a request whose JSON has `length` bytes: all of them if None, none of them if 0."""
    if length == 0:
        return _raw(body, signature)
    if length is not None and length > len(body):
        _refuse(f"Inference-Header-Content-Length says {length}, the body has {len(body)} bytes")
    told = _parsed(body if length is None else memoryview(body)[:length])
    rest = memoryview(body)[len(body) if length is None else length :]
    booleans = _may_hold_booleans(body, length)
    fields = {field.name: field for field in signature.inputs}
    tensors: dict[str, Array] = {}
    for entry in _objects(told, "inputs"):
        head = _head(entry)
        field = fields.get(head.name)
        if field is None:
            head.refuse(f"there is no such input; the inputs are {', '.join(fields)}")
        if head.name in tensors:
            head.refuse("given twice")
        check_shape(head, field)
        size = _binary_size(head, entry, length)
        if size is None:
            array = from_json(head, entry.get("data"), booleans=booleans)
        else:
            if size > len(rest):
                head.refuse(f"binary_data_size says {size}, {len(rest)} bytes are left in the body")
            array, rest = from_bytes(head, rest[:size]), rest[size:]
        tensors[head.name] = cast(head, array, field)
    if len(rest):
        _refuse(f"{len(rest)} bytes behind the last binary tensor belong to none")
    parameters = _parameters(told)
    outputs = _outputs(told, parameters, signature)
    return Asked(_id(told), parameters, tensors, _rows(tensors, signature), outputs)


def write(
    model: str, version: int, asked: Asked, told: dict[str, Told], signature: Signature
) -> tuple[bytes, int | None]:
    """The answer, and how many of its bytes are JSON if binary tensors follow."""
    datatypes = {field.name: field.datatype for field in signature.outputs}
    outputs, blobs = [], []
    for name, binary in asked.outputs.items():
        array, keys = told[name]
        parameters: Json = {} if keys is None else {"keys": ",".join(keys)}
        entry: Json = {"name": name, "datatype": datatypes[name], "shape": array.shape}
        if binary:
            blobs.append(to_bytes(array))
            parameters["binary_data_size"] = len(blobs[-1])
        else:
            entry["data"] = to_json(array)
        outputs.append(entry | {"parameters": parameters} if parameters else entry)
    body: Json = {"model_name": model, "model_version": str(version), "outputs": outputs}
    if asked.id is not None:
        body["id"] = asked.id
    head = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join((head, *blobs)), len(head) if blobs else None


def _refuse(detail: str) -> NoReturn:
    raise Invalid(detail)


def _parsed(text: bytes | memoryview) -> Json:
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"{NO_JSON}: {error}") from None
    if not isinstance(told, dict):
        _refuse("The request is no JSON object")
    return told


def _may_hold_booleans(body: bytes, length: int | None) -> bool:
    """Whether `true` or `false` may stand in some data; looking for single letters costs next to nothing."""
    end = len(body) if length is None else length
    begin = body.find(b'"data"', 0, end)
    if begin < 0 or body.find(b"\\", 0, begin) >= 0:  # an escaped key, perhaps
        return True
    return body.find(b"u", begin, end) >= 0 or body.find(b"s", begin, end) >= 0


def _objects(told: Json, key: str) -> list[Json]:
    found = told.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        _refuse(f'"{key}" is no list of objects')
    return found


def _head(entry: Json) -> Head:
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str):
        _refuse("an input has no name")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        _refuse(f'input "{name}": the datatype is one of {", ".join(DTYPES)}')
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < LARGEST for size in shape):
        _refuse(f'input "{name}": the shape is no list of sizes')
    return Head(name, datatype, tuple(shape))


def _binary_size(head: Head, entry: Json, length: int | None) -> int | None:
    """How many bytes behind the JSON are this tensor's; None if its data is in the JSON."""
    parameters = entry.get("parameters")
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        head.refuse("its parameters are no object")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        head.refuse("binary_data_size is no number of bytes")
    if length is None:
        head.refuse("binary data needs the header Inference-Header-Content-Length")
    if "data" in entry:
        head.refuse("has both data and binary_data_size")
    return size


def _parameters(told: Json) -> Json:
    parameters = told.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        _refuse('"parameters" is no object')
    return parameters


def _id(told: Json) -> str | None:
    given = told.get("id")
    if given is not None and not isinstance(given, str):
        _refuse('"id" is no string')
    return given


def _outputs(told: Json, parameters: Json, signature: Signature) -> dict[str, bool]:
    binary = _flag(parameters, "binary_data_output", default=False)
    known = [field.name for field in signature.outputs]
    if not told.get("outputs"):
        return dict.fromkeys(known, binary)
    found: dict[str, bool] = {}
    for entry in _objects(told, "outputs"):
        name, own = entry.get("name"), entry.get("parameters") or {}
        if name not in known:
            _refuse(f"there is no output {orjson.dumps(name).decode()}; the outputs are {', '.join(known)}")
        if name in found:
            _refuse(f'output "{name}": asked for twice')
        if not isinstance(own, dict) or own.get("classification"):
            _refuse(f'output "{name}": its parameters may be binary_data, and no others')
        found[name] = _flag(own, "binary_data", default=binary)
    return found


def _flag(parameters: Json, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        _refuse(f"{name} is true or false")
    return value


def _rows(tensors: dict[str, Array], signature: Signature) -> int:
    for field in signature.inputs:
        if field.required and field.name not in tensors:
            _refuse(f'input "{field.name}" is missing')
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


def _raw(body: bytes, signature: Signature) -> Asked:
    """A body that is the one required input itself: one row, whose variable dimension its length tells."""
    required = [field for field in signature.inputs if field.required]
    text = [field.datatype for field in required] == ["BYTES"]
    if len(required) != 1 or required[0].shape.count(-1) != (0 if text else 1):
        _refuse("a raw body needs a model with one required input of one variable dimension")
    field = required[0]
    data = LENGTH.pack(len(body)) + body if text else body
    step = DTYPES[field.datatype].itemsize * -prod(field.shape)
    size = 1 if text else len(body) // step
    head = Head(field.name, field.datatype, (1, *(size if want == -1 else want for want in field.shape)))
    array = cast(head, from_bytes(head, memoryview(data)), field)
    outputs = dict.fromkeys((field.name for field in signature.outputs), True)
    return Asked(None, {}, {field.name: array}, 1, outputs)
