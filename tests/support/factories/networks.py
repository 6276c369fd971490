"""Tiny recurrent networks in the exported form, made without torch."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def lstm(features: int = 3, hidden: int = 5, width: int = 2, seed: int = 0) -> onnx.ModelProto:
    """One LSTM and a linear head on its last real state: (inputs, lengths, state) -> (outputs, state_out)."""
    rng = np.random.default_rng(seed)
    weights = {
        "W": rng.normal(0, 0.4, (1, 4 * hidden, features)),
        "R": rng.normal(0, 0.4, (1, 4 * hidden, hidden)),
        "B": rng.normal(0, 0.4, (1, 8 * hidden)),
        "head": rng.normal(0, 0.4, (hidden, width)),
    }
    floats = TensorProto.FLOAT
    nodes = [
        helper.make_node("Transpose", ["inputs"], ["x"], perm=[1, 0, 2]),
        helper.make_node("Cast", ["lengths"], ["steps"], to=TensorProto.INT32),
        helper.make_node("Split", ["state"], ["h0", "c0"], axis=0, num_outputs=2),
        helper.make_node(
            "LSTM", ["x", "W", "R", "B", "steps", "h0", "c0"], ["", "h", "c"], hidden_size=hidden
        ),
        helper.make_node("Concat", ["h", "c"], ["state_out"], axis=0),
        helper.make_node("Squeeze", ["h", "first"], ["last"]),
        helper.make_node("MatMul", ["last", "head"], ["outputs"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lstm",
        [
            helper.make_tensor_value_info("inputs", floats, ["batch", "time", features]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("state", floats, [2, "batch", hidden]),
        ],
        [
            helper.make_tensor_value_info("outputs", floats, ["batch", width]),
            helper.make_tensor_value_info("state_out", floats, [2, "batch", hidden]),
        ],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
        + [numpy_helper.from_array(np.array([0], np.int64), "first")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def store(directory: Path, model: onnx.ModelProto, **manifest: object) -> Path:
    """Write an artifact: the graph and a manifest with its checksum."""
    directory.mkdir(parents=True, exist_ok=True)
    data = model.SerializeToString()
    (directory / "model.onnx").write_bytes(data)
    files = {"model.onnx": {"sha256": sha256(data).hexdigest(), "bytes": len(data)}}
    (directory / "manifest.json").write_text(json.dumps({"files": files, **manifest}))
    return directory
