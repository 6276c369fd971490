"""What is sent and what must come back: one network, many different bodies, the expected output of each."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from benchmarks.serving.generator.messages import Corpus
from tests.support.factories.networks import lstm, store

FEATURES, HIDDEN, WIDTH, STEPS = 8, 64, 8, 64
SHORTEST, LONGEST = 16, 512  # of the mixed load
BODIES = 400
DIGITS = 6


def artifact(directory: Path) -> Path:
    """The network as a version's files: the graph and a manifest."""
    facts = {
        "inputs": ["inputs", "lengths", "state"],
        "outputs": ["outputs", "state_out"],
        "features": FEATURES,
        "width": WIDTH,
        "state_rows": 2,
        "hidden_size": HIDDEN,
        "opset": 18,
        "difference": 0.0,
    }
    return store(directory, lstm(FEATURES, HIDDEN, WIDTH), format=1, task="forecasting", state={}, onnx=facts)


def body(values: npt.NDArray[np.float32]) -> bytes:
    """An Open Inference Protocol request of one instance (time, features)."""
    numbers = ",".join(f"{value:.{DIGITS}f}" for value in values.ravel())
    shape = f"[1,{values.shape[0]},{values.shape[1]}]"
    return f'{{"inputs":[{{"name":"inputs","shape":{shape},"datatype":"FP32","data":[{numbers}]}}]}}'.encode()


def corpus(graph: Path, steps: list[int], seed: int) -> Corpus:
    """A body of each length, with the output that ONNX Runtime computes for it alone."""
    rng = np.random.default_rng(seed)
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    made = Corpus([], [], steps)
    for count in steps:
        values = rng.normal(0, 1, (count, FEATURES)).round(DIGITS).astype(np.float32)  # (time, features)
        feed = {
            "inputs": values[None],
            "lengths": np.array([count], np.int64),
            "state": np.zeros((2, 1, HIDDEN), np.float32),
        }
        made.bodies.append(body(values))
        made.outputs.append(session.run(["outputs"], feed)[0][0].tolist())
    return made


def corpora(directory: Path, graph: Path) -> dict[str, Path]:
    """Files of the equal load, of the mixed one, and of one whose equal length is the mixed load's mean."""
    lengths = np.random.default_rng(3).integers(SHORTEST, LONGEST + 1, BODIES).tolist()
    mean = round(sum(lengths) / BODIES)
    expected = {"equal": [STEPS] * BODIES, "mixed": lengths, "mean": [mean] * BODIES}
    return {
        name: corpus(graph, steps, seed).save(directory / f"{name}.corpus")
        for seed, (name, steps) in enumerate(expected.items())
    }
