import hashlib
import json
from pathlib import Path

import pytest
import torch

from app.tasks.contract import Input, Output
from workers.artifact.export import (
    ExportFailed,
    export_onnx,
    load_model,
    read_manifest,
    save,
    verify_onnx,
)
from workers.nn import ModelConfig
from workers.nn.model import SequenceModel
from workers.nn.recurrent.cells import CELLS
from workers.outputs import build
from workers.outputs.probes import probe


def trained(cell: str = "gru", layers: int = 1, hidden: int = 8) -> SequenceModel:
    quantiles = (0.1, 0.5, 0.9)
    config = ModelConfig(Input.VECTORS, Output.QUANTILES, 4, 6, cell, layers, hidden, quantiles=quantiles)
    model = build(config, 0)
    assert isinstance(model, SequenceModel)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_the_graph_computes_what_torch_does(cell: str, layers: int, tmp_path: Path) -> None:
    model = trained(cell, layers)
    export_onnx(model, tmp_path / "model.onnx")
    assert verify_onnx(model, tmp_path / "model.onnx") < 1e-5


def test_a_graph_of_other_weights_is_refused(tmp_path: Path) -> None:
    model = trained()
    export_onnx(model, tmp_path / "model.onnx")
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    with pytest.raises(ExportFailed):
        verify_onnx(model, tmp_path / "model.onnx")


def test_large_outputs_differ_by_their_rounding(tmp_path: Path) -> None:
    """Logits of thousands carry a float's rounding of 1e-4 and more, which is no fault of the graph."""
    model = trained("lstm")
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(1e4)
    export_onnx(model, tmp_path / "model.onnx")
    assert verify_onnx(model, tmp_path / "model.onnx") < 1e-5


def chaotic() -> SequenceModel:
    """A vanilla RNN that amplifies a rounding step by step, as a trained one may."""
    return trained("rnn", hidden=64)  # recurrent weights of spectral radius 3


def test_a_network_that_amplifies_rounding_is_exported(tmp_path: Path) -> None:
    model = chaotic()
    export_onnx(model, tmp_path / "model.onnx")
    verify_onnx(model, tmp_path / "model.onnx")


def test_a_graph_of_other_weights_is_refused_where_rounding_is_amplified(tmp_path: Path) -> None:
    model = chaotic()
    export_onnx(model, tmp_path / "model.onnx")
    with torch.no_grad():
        model.head.out.bias.add_(0.01)
    with pytest.raises(ExportFailed):
        verify_onnx(model, tmp_path / "model.onnx")


def test_an_artifact_rebuilds_the_network(tmp_path: Path) -> None:
    model = trained()
    manifest = save(tmp_path, model, {"task": "forecasting", "state": {"horizon": 2}})
    again = load_model(tmp_path, torch.device("cpu"))
    tensors = probe(model, 3, 6, 0)
    for ours, theirs in zip(model.forward_last(*tensors), again.forward_last(*tensors), strict=True):
        assert ours.equal(theirs)
    assert read_manifest(tmp_path) == manifest
    assert manifest["parameters"] == sum(p.numel() for p in model.parameters())
    assert {file.name for file in tmp_path.iterdir()} == {"manifest.json", *manifest["files"]}
    for name, facts in manifest["files"].items():
        content = (tmp_path / name).read_bytes()
        assert facts == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        read_manifest(tmp_path)
