"""Messages between a decoder and its child: a JSON header, then arrays or a file as bytes."""

import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from app.typedefs import Json

PREFIX = struct.Struct("<QQ")  # bytes of the header, and of what follows it
OUT_OF_MEMORY = 71  # exit status of a child that has no memory for a whole message


def write_message(pipe: BinaryIO, header: Json, parts: Sequence[Any] = ()) -> None:
    """Write one message; raises `OSError` where the other end is gone."""
    text = json.dumps(header).encode()
    views = [memoryview(part).cast("B") for part in parts]
    pipe.write(PREFIX.pack(len(text), sum(map(len, views))))
    pipe.write(text)
    for view in views:
        pipe.write(view)
    pipe.flush()


def read_message(pipe: BinaryIO) -> tuple[Json, bytearray]:
    """The next message; raises `EOFError` where the other end is gone."""
    header, body = PREFIX.unpack(_read_exactly(pipe, PREFIX.size))
    return json.loads(_read_exactly(pipe, header)), _read_exactly(pipe, body)


def _read_exactly(pipe: BinaryIO, size: int) -> bytearray:
    data = bytearray(size)
    view, position = memoryview(data), 0
    while position < size:
        count = pipe.readinto(view[position:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        position += count
    return data


def pack_result(result: dict[str, Any]) -> tuple[Json, list[Any]]:
    """A decoded file as a header and the bytes of its arrays."""
    arrays = {
        name: np.ascontiguousarray(value) for name, value in result.items() if isinstance(value, np.ndarray)
    }
    described = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    values = {name: value for name, value in result.items() if name not in arrays}
    return {"values": values, "arrays": described}, [array for array in arrays.values() if array.size]


def unpack_result(header: Json, body: bytearray) -> dict[str, Any]:
    """The inverse of `pack_result`; the arrays share the memory of `body`."""
    result, position = dict(header["values"]), 0
    for name, dtype, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        result[name] = np.frombuffer(body, dtype, count, position).reshape(shape)
        position += count * np.dtype(dtype).itemsize
    return result
