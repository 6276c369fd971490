"""What a graph's outputs mean, by kind of output; the side of `workers/outputs` that needs no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.arrays import Array, Ints
from app.tasks.contract import Output
from app.typedefs import Json
from workers.decoding import viterbi
from workers.decoding.onnx_model import OnnxNext, OnnxSequence, StepModel, open_session

Postprocess = Callable[[Array, Ints, Array | None], Array]
OpenStepModel = Callable[[Any, Path, Json], StepModel]


def _unchanged(outputs: Array, lengths: Ints, transitions: Array | None) -> Array:
    """Outputs (batch, …) as the graph gives them."""
    del lengths, transitions
    return outputs


def _open_next(session: Any, directory: Path, manifest: Json) -> StepModel:
    del directory
    return OnnxNext(session, min_rows=2 if manifest["model"].get("cell") == "rnn" else 1)


def _open_sequence(session: Any, directory: Path, manifest: Json) -> StepModel:
    del manifest
    return OnnxSequence(session, open_session(directory / "decoder.onnx"))


@dataclass(frozen=True)
class GraphOutput:
    """How the outputs of a graph are read: all at once, or token by token through a step model."""

    postprocess: Postprocess = _unchanged  # of outputs, true lengths (batch,) and the transitions of a CRF
    open_step_model: OpenStepModel | None = None  # of a session, the artifact's directory and its manifest


GRAPH_OUTPUTS: dict[Output, GraphOutput] = {
    Output.LABEL: GraphOutput(),
    Output.LABELS: GraphOutput(viterbi.best),
    Output.QUANTILES: GraphOutput(),
    Output.NEXT_TOKEN: GraphOutput(open_step_model=_open_next),
    Output.SEQUENCE: GraphOutput(open_step_model=_open_sequence),
    Output.ALIGNED: GraphOutput(),
}
