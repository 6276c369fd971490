"""One tensor of the Open Inference Protocol: JSON data or little-endian bytes to a numpy array, and back."""

import struct
from collections.abc import Iterator
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple, NoReturn

import msgspec
import numpy as np
import orjson

from app.arrays import Array
from app.errors import Invalid
from app.tasks.contract import TensorField, bytes_to_json

# datatype -> dtype, and the code of one element in `struct`, which is as fast as numpy and stricter
NUMBERS: dict[str, tuple[np.dtype[Any], str]] = {
    "UINT8": (np.dtype("u1"), "B"),
    "UINT16": (np.dtype("<u2"), "H"),
    "UINT32": (np.dtype("<u4"), "I"),
    "UINT64": (np.dtype("<u8"), "Q"),
    "INT8": (np.dtype("i1"), "b"),
    "INT16": (np.dtype("<i2"), "h"),
    "INT32": (np.dtype("<i4"), "i"),
    "INT64": (np.dtype("<i8"), "q"),
    "FP16": (np.dtype("<f2"), "e"),
    "FP32": (np.dtype("<f4"), "f"),
    "FP64": (np.dtype("<f8"), "d"),
}
DTYPES: dict[str, np.dtype[Any]] = {
    **{name: dtype for name, (dtype, _) in NUMBERS.items()},
    "BOOL": np.dtype("?"),
    "BYTES": np.dtype(object),  # of str, or of bytes in a field that is `binary`
}
LENGTH_PREFIX = struct.Struct("<I")  # before each element of binary BYTES
SLICE_VALUES = 1 << 16  # that are converted at once
MAX_VALUE_CHARS = 40  # of a refused value that are quoted


class TensorHeader(NamedTuple):
    """What a request says of one input beside its data."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def refuse(self, detail: str) -> NoReturn:
        """Raise `Invalid` for this tensor."""
        raise Invalid(f'input "{self.name}": {detail}')

    def refuse_element(self, index: int, detail: str) -> NoReturn:
        """Raise `Invalid` for the element at a row-major index."""
        position = [int(step) for step in np.unravel_index(index, self.shape)]
        self.refuse(f"element {position} {detail}")


def check_shape(header: TensorHeader, field: TensorField) -> None:
    """Raise `Invalid` unless a tensor of rows has the field's rank and fixed dimensions."""
    row = header.shape[1:]
    fits = len(row) == len(field.shape) and all(
        expected in (-1, size) for expected, size in zip(field.shape, row, strict=True)
    )
    if not header.shape or not fits:
        header.refuse(f"has shape {list(header.shape)}, takes {[-1, *field.shape]}")


def from_json(header: TensorHeader, data: object, *, booleans: bool, binary: bool = False) -> Array:
    """Nested or flat row-major data as an array.

    `booleans` is whether `true` or `false` may be among the data. The strings of BYTES become `str`, or
    with `binary` the `bytes` whose base64 they are.
    """
    flat = _flatten(header, data)
    if header.datatype == "BYTES":
        texts = _objects(header, flat, str)
        return _decode_base64(header, texts) if binary else texts
    if header.datatype == "BOOL":
        return _objects(header, flat, bool).astype(bool)
    dtype, code = NUMBERS[header.datatype]
    packed = _pack(code, flat)
    if packed is None and dtype.kind == "f":
        packed = _pack(code, [np.nan if value is None else value for value in flat])
    if packed is None or (booleans and any(bool in set(map(type, some)) for some in _slices(flat))):
        missing = None if dtype.kind == "f" else ...
        for index, value in enumerate(flat):
            if value is not missing and (type(value) is bool or _pack(code, [value]) is None):
                header.refuse_element(index, _mismatch(value, header.datatype))
    return np.frombuffer(packed or b"", dtype).reshape(header.shape)


def from_bytes(header: TensorHeader, data: memoryview, *, binary: bool = False) -> Array:
    """Little-endian bytes as a read-only view.

    Elements of BYTES follow their lengths; they become `str`, for which they must be UTF-8, or with
    `binary` `bytes`.
    """
    if header.datatype == "BYTES":
        return _split_elements(header, data, binary=binary)
    dtype, size = DTYPES[header.datatype], prod(header.shape)
    if len(data) != size * dtype.itemsize:
        header.refuse(f"has {len(data)} bytes, shape {list(header.shape)} takes {size * dtype.itemsize}")
    if dtype.kind == "b":
        (bad,) = np.nonzero(np.frombuffer(data, np.uint8) > 1)
        if len(bad):
            header.refuse_element(int(bad[0]), "is neither 0 nor 1")
    return np.frombuffer(data, dtype).reshape(header.shape)


def cast_to_field(header: TensorHeader, array: Array, field: TensorField) -> Array:
    """The array in the field's datatype, if that can hold it: floats may be rounded, nothing may overflow."""
    dtype = DTYPES[field.datatype]
    if array.dtype == dtype:
        cast = array
    elif dtype.kind == "f" and array.dtype.kind in "iuf":
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
    elif dtype.kind in "iu" and array.dtype.kind in "iu":
        limits = np.iinfo(dtype)
        beyond = (array < limits.min) | (array > limits.max)
        _refuse_where(header, beyond, f"is out of {field.datatype}'s range")
        cast = array.astype(dtype)
    else:
        header.refuse(f"has datatype {header.datatype}, takes {field.datatype}")
    if dtype.kind == "f" and not np.isfinite(cast).all():
        bad = np.isinf(cast) if field.missing else ~np.isfinite(cast)
        _refuse_where(header, bad, f"is no finite number of {field.datatype}")
    return cast


def to_bytes(array: Array) -> bytes:
    """The binary form of an array; elements of BYTES follow their lengths, texts as UTF-8."""
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    elements = [element if isinstance(element, bytes) else element.encode() for element in array.ravel()]
    return b"".join(part for element in elements for part in (LENGTH_PREFIX.pack(len(element)), element))


def to_json(array: Array) -> Array | list[Any]:
    """The flat row-major data of an array for orjson; NaN becomes `null`, bytes become base64."""
    flat = np.ascontiguousarray(array).ravel()
    if flat.dtype.kind == "O":
        return [bytes_to_json(value) if isinstance(value, bytes) else value for value in flat]
    return flat.tolist() if flat.dtype == np.float16 else flat


def _pack(code: str, values: list[Any]) -> bytes | None:
    try:
        return b"".join(struct.pack(f"<{len(some)}{code}", *some) for some in _slices(values))
    except (struct.error, OverflowError):  # another type, or out of range
        return None


def _slices(values: list[Any]) -> Iterator[list[Any]]:
    """The values in slices, each of which is soon done: others get the interpreter's lock in between."""
    if len(values) <= SLICE_VALUES:
        yield values
        return
    for begin in range(0, len(values), SLICE_VALUES):
        yield values[begin : begin + SLICE_VALUES]


def _flatten(header: TensorHeader, data: object) -> list[Any]:
    """Row-major elements of nested or flat data."""
    if not isinstance(data, list):
        header.refuse("data is missing" if data is None else "data is no list")
    if len(header.shape) > 1 and data and isinstance(data[0], list):
        rows = 1
        for size, inner in pairwise(header.shape):
            rows *= size
            if len(data) != rows or any(type(row) is not list or len(row) != inner for row in data):
                header.refuse(f"nested data does not have the shape {list(header.shape)}")
            flat = list[Any]()
            for row in data:
                flat += row
            data = flat
    if len(data) != prod(header.shape):
        header.refuse(f"has {len(data)} elements, shape {list(header.shape)} takes {prod(header.shape)}")
    return data


def _objects(header: TensorHeader, flat: list[Any], kind: type) -> Array:
    for index, value in enumerate(flat):
        if type(value) is not kind:
            header.refuse_element(index, _mismatch(value, header.datatype))
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(header.shape)


def _decode_base64(header: TensorHeader, texts: Array) -> Array:
    array = np.empty(texts.shape, object)
    for index, text in enumerate(texts.flat):
        try:
            array.flat[index] = msgspec.convert(text, bytes)  # by the rules of the JSON protocol
        except msgspec.ValidationError:
            header.refuse_element(index, _mismatch(text, "base64"))
    return array


def _split_elements(header: TensorHeader, data: memoryview, *, binary: bool) -> Array:
    """The elements of binary BYTES."""
    if prod(header.shape) * LENGTH_PREFIX.size > len(data):
        header.refuse(f"has {len(data)} bytes, too few for the shape {list(header.shape)}")
    array, offset = np.empty(prod(header.shape), object), 0
    for index in range(len(array)):
        end = offset + LENGTH_PREFIX.size
        if end > len(data):
            header.refuse(f"its bytes end before element {index} of {len(array)}")
        offset, end = end, end + LENGTH_PREFIX.unpack(data[offset:end])[0]
        if end > len(data):
            header.refuse(f"its bytes end within element {index} of {len(array)}")
        try:
            array[index] = bytes(data[offset:end]) if binary else str(data[offset:end], "utf-8")
        except UnicodeDecodeError:
            header.refuse_element(index, "is not UTF-8")
        offset = end
    if offset != len(data):
        header.refuse(f"has {len(data) - offset} bytes behind its last element")
    return array.reshape(header.shape)


def _refuse_where(header: TensorHeader, bad: Array, detail: str) -> None:
    if bad.any():
        header.refuse_element(int(bad.argmax()), detail)


def _mismatch(value: object, kind: str) -> str:
    text = orjson.dumps(value).decode()
    return f"is {text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + '…'}, which is no {kind}"
