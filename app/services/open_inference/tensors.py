"""One tensor of the Open Inference Protocol: JSON data or little-endian bytes to a numpy array, and back."""

import struct
from itertools import chain, pairwise
from math import prod
from typing import Any, NamedTuple, NoReturn

import numpy as np
import orjson

from app.errors import Invalid
from app.tasks.contract import Array, TensorField

# datatype -> dtype and the code of one element in `struct`, which is as quick as numpy and stricter
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
    "BYTES": np.dtype(object),  # of str
}
LENGTH = struct.Struct("<I")  # before each element of binary BYTES
SHOWN = 40  # characters of a refused value that are quoted


class Head(NamedTuple):
    """What a request says of one input beside its data."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def refuse(self, detail: str) -> NoReturn:
        """Say what is wrong with this tensor."""
        raise Invalid(f'input "{self.name}": {detail}')

    def refuse_element(self, index: int, detail: str) -> NoReturn:
        """Say what is wrong with the element at a row-major index."""
        place = [int(step) for step in np.unravel_index(index, self.shape)]
        self.refuse(f"element {place} {detail}")


def check_shape(head: Head, field: TensorField) -> None:
    """Raise `Invalid` unless a tensor of rows has the field's rank and fixed dimensions."""
    row = head.shape[1:]
    fits = len(row) == len(field.shape) and all(
        want in (-1, got) for want, got in zip(field.shape, row, strict=True)
    )
    if not head.shape or not fits:
        head.refuse(f"has shape {list(head.shape)}, takes {[-1, *field.shape]}")


def from_json(head: Head, data: object, *, booleans: bool) -> Array:
    """Nested or flat row-major data as an array; without `booleans` there surely is none among them."""
    flat = _flat(head, data)
    if head.datatype == "BYTES":
        return _objects(head, flat, str)
    if head.datatype == "BOOL":
        return _objects(head, flat, bool).astype(bool)
    dtype, code = NUMBERS[head.datatype]
    packed = _packed(code, flat)
    if packed is None and dtype.kind == "f":
        packed = _packed(code, [np.nan if value is None else value for value in flat])
    if packed is None or (booleans and bool in set(map(type, flat))):
        nothing = None if dtype.kind == "f" else ...
        for index, value in enumerate(flat):
            if value is not nothing and (type(value) is bool or _packed(code, [value]) is None):
                head.refuse_element(index, _shown(value, head.datatype))
    return np.frombuffer(packed or b"", dtype).reshape(head.shape)


def from_bytes(head: Head, data: memoryview) -> Array:
    """Little-endian bytes as a read-only view; BYTES elements are UTF-8 behind their length."""
    if head.datatype == "BYTES":
        return _texts(head, data)
    dtype, size = DTYPES[head.datatype], prod(head.shape)
    if len(data) != size * dtype.itemsize:
        head.refuse(f"has {len(data)} bytes, shape {list(head.shape)} takes {size * dtype.itemsize}")
    if dtype.kind == "b":
        (odd,) = np.nonzero(np.frombuffer(data, np.uint8) > 1)
        if len(odd):
            head.refuse_element(int(odd[0]), "is neither 0 nor 1")
    return np.frombuffer(data, dtype).reshape(head.shape)


def cast(head: Head, array: Array, field: TensorField) -> Array:
    """The array in the field's datatype, if that can hold it: floats may be rounded, nothing may overflow."""
    wanted = DTYPES[field.datatype]
    if array.dtype == wanted:
        found = array
    elif wanted.kind == "f" and array.dtype.kind in "iuf":
        with np.errstate(over="ignore"):
            found = array.astype(wanted)
    elif wanted.kind in "iu" and array.dtype.kind in "iu":
        limits = np.iinfo(wanted)
        beyond = (array < limits.min) | (array > limits.max)
        _refuse_where(head, beyond, f"is out of {field.datatype}'s range")
        found = array.astype(wanted)
    else:
        head.refuse(f"has datatype {head.datatype}, takes {field.datatype}")
    if wanted.kind == "f" and not np.isfinite(found).all():
        odd = np.isinf(found) if field.missing else ~np.isfinite(found)
        _refuse_where(head, odd, f"is no finite number of {field.datatype}")
    return found


def to_bytes(array: Array) -> bytes:
    """The binary form of an array; text becomes UTF-8 behind its length."""
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [text.encode() for text in array.ravel()]
    return b"".join(part for text in texts for part in (LENGTH.pack(len(text)), text))


def to_json(array: Array) -> Array | list[Any]:
    """What orjson writes as the flat row-major data of an array; NaN becomes `null`."""
    flat = np.ascontiguousarray(array).ravel()
    return flat.tolist() if flat.dtype.kind == "O" or flat.dtype == np.float16 else flat


def _packed(code: str, values: list[Any]) -> bytes | None:
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError):  # another type, or out of range
        return None


def _flat(head: Head, data: object) -> list[Any]:
    """Row-major elements of nested or flat data."""
    if not isinstance(data, list):
        head.refuse("data is no list")
    if len(head.shape) > 1 and data and isinstance(data[0], list):
        rows = 1
        for size, inner in pairwise(head.shape):
            rows *= size
            if len(data) != rows or any(type(row) is not list or len(row) != inner for row in data):
                head.refuse(f"nested data does not have the shape {list(head.shape)}")
            data = list(chain.from_iterable(data))
    if len(data) != prod(head.shape):
        head.refuse(f"has {len(data)} elements, shape {list(head.shape)} takes {prod(head.shape)}")
    return data


def _objects(head: Head, flat: list[Any], kind: type) -> Array:
    for index, value in enumerate(flat):
        if type(value) is not kind:
            head.refuse_element(index, _shown(value, head.datatype))
    found = np.empty(len(flat), object)
    found[:] = flat
    return found.reshape(head.shape)


def _texts(head: Head, data: memoryview) -> Array:
    if prod(head.shape) * LENGTH.size > len(data):
        head.refuse(f"has {len(data)} bytes, too few for the shape {list(head.shape)}")
    found, place = np.empty(prod(head.shape), object), 0
    for index in range(len(found)):
        end = place + LENGTH.size
        if end > len(data):
            head.refuse(f"its bytes end before element {index} of {len(found)}")
        place, end = end, end + LENGTH.unpack(data[place:end])[0]
        if end > len(data):
            head.refuse(f"its bytes end within element {index} of {len(found)}")
        try:
            found[index] = str(data[place:end], "utf-8")
        except UnicodeDecodeError:
            head.refuse_element(index, "is not UTF-8")
        place = end
    if place != len(data):
        head.refuse(f"has {len(data) - place} bytes behind its last element")
    return found.reshape(head.shape)


def _refuse_where(head: Head, odd: Array, detail: str) -> None:
    if odd.any():
        head.refuse_element(int(odd.argmax()), detail)


def _shown(value: object, datatype: str) -> str:
    text = orjson.dumps(value).decode()
    return f"is {text if len(text) <= SHOWN else text[:SHOWN] + '…'}, which is no {datatype}"
