"""What every peer shares: the network in ONNX Runtime, and the tensors of the Open Inference Protocol."""

import os

import numpy as np
import onnxruntime as ort


def open_session(path: str) -> ort.InferenceSession:
    """A graph on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Network:
    """The same graph that Recurra serves, on one thread."""

    def __init__(self) -> None:
        self._session = open_session(os.environ["BENCH_MODEL"])
        self._rows, _, self._hidden = self._session.get_inputs()[2].shape

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """Outputs (batch, width) of inputs (batch, time, features)."""
        lengths = np.full(len(inputs), inputs.shape[1], np.int64)  # (batch,)
        state = np.zeros((self._rows, len(inputs), self._hidden), np.float32)  # (rows, batch, hidden)
        return self._session.run(["outputs"], {"inputs": inputs, "lengths": lengths, "state": state})[0]


def array(tensor: dict) -> np.ndarray:
    """One request's input (time, features)."""
    return np.array(tensor["data"], np.float32).reshape(tensor["shape"][1:])


def tensor(output: np.ndarray) -> dict:
    """One request's output tensor, from a row (width,)."""
    return {"name": "outputs", "shape": [1, len(output)], "datatype": "FP32", "data": output.tolist()}
