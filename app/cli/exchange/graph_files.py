"""Which other files an ONNX graph refers to: read from its bytes, without the packages that load graphs.

A tensor's values may be in a file beside the graph, whose path the graph names. Graphs of this service have
all values inside; one that has not would have the predictor open a path of whoever made the graph.
"""

from collections.abc import Iterator

# Fields of messages of ONNX (onnx.proto) that lead to tensors: the kind of message, by the field's number.
FIELDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
    "external": {},
}
MAX_DEPTH = 64  # of graphs within graphs, as messages


def external_files(model: bytes) -> list[str]:
    """The entries by which tensors refer to files; what is no message counts as one."""
    try:
        return [entry.decode(errors="replace") for entry in _external(memoryview(model), "model", 0)]
    except (IndexError, ValueError):
        return ["(not a graph)"]


def _external(content: memoryview, kind: str, depth: int) -> Iterator[bytes]:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if kind == "external":
        yield bytes(content)
        return
    inner = FIELDS[kind]
    for number, value in _fields(content):
        if number in inner:
            yield from _external(value, inner[number], depth + 1)


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that have a length, by number."""
    position = 0
    while position < len(content):
        tag, position = _varint(content, position)
        match tag & 7:
            case 0:
                _, position = _varint(content, position)
            case 1:
                position += 8
            case 2:
                size, position = _varint(content, position)
                if position + size > len(content):
                    raise ValueError("cut short")
                yield tag >> 3, content[position : position + size]
                position += size
            case 5:
                position += 4
            case _:
                raise ValueError("an unknown wire type")


def _varint(content: memoryview, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("a number without an end")
