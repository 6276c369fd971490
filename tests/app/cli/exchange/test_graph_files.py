"""A graph that refers to other files is noticed by its bytes, wherever in it the reference is."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from app.cli.exchange.graph_files import external_files


def referring() -> TensorProto:
    tensor = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../secrets"), ("offset", "0")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def model(*initializers: TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph(list(nodes), "g", [], [], list(initializers)))


def test_a_graph_with_all_values_inside_refers_to_nothing() -> None:
    inside = numpy_helper.from_array(np.arange(300, dtype=np.float32), "weight")
    assert external_files(model(inside).SerializeToString()) == []
    assert external_files(b"") == []


def test_a_reference_is_noticed_wherever_it_is() -> None:
    inner = helper.make_graph([], "inner", [], [], [referring()])
    places = [
        model(referring()),
        model(nodes=(helper.make_node("Constant", [], ["c"], value=referring()),)),
        model(nodes=(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner),)),
    ]
    function = helper.make_function(
        "d", "f", [], [], [helper.make_node("Constant", [], ["c"], value=referring())], []
    )
    places.append(model())
    places[-1].functions.append(function)
    places.append(model())
    places[-1].training_info.add().algorithm.CopyFrom(inner)
    for place in places:
        assert any("../../secrets" in entry for entry in external_files(place.SerializeToString()))


@pytest.mark.parametrize(
    "content", [b"\x00", b"\xff" * 40, b"\x3a\xff\xff\x7f", b"not a graph", b"\x3a\x05\x0a"]
)
def test_what_is_no_graph_is_not_taken_for_a_harmless_one(content: bytes) -> None:
    assert external_files(content) != []


def within(number: int, content: bytes) -> bytes:
    """A field of a message, with a length of one or two bytes."""
    size = len(content)
    return bytes([number << 3 | 2, *([size] if size < 128 else [size & 0x7F | 0x80, size >> 7])]) + content


def test_graphs_within_graphs_have_a_limit() -> None:
    graph = b""
    for _ in range(15):
        graph = within(1, within(5, within(6, graph)))  # a node's attribute is a graph
    assert external_files(within(7, graph)) == []
    for _ in range(15):
        graph = within(1, within(5, within(6, graph)))
    assert external_files(within(7, graph)) == ["(not a graph)"]
