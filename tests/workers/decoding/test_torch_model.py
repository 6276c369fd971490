"""Networks of torch asked step by step, and its engine on tokens: what they say is what ONNX Runtime says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.factories.speaking import sequences, speaker, tagger, translator
from workers.decoding.scheduler import decode_all
from workers.decoding.torch_model import Tensors
from workers.inference.engines import Engine, open_onnx
from workers.inference.torch_engine import open_torch

CUDA = pytest.param(
    "cuda:0", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
)
DEVICES = pytest.mark.parametrize("device", ["cpu", CUDA])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    speaker(root / "lstm", layers=2)
    speaker(root / "gru", cell="gru")
    translator(root / "sequence")
    tagger(root / "chain")
    tagger(root / "each", crf=False)
    return root


def found(engine: Engine, rows: list[Any], searches: list[dict[str, Any]]) -> Any:
    assert engine.decoder is not None
    return decode_all(engine.decoder, rows, searches, rows=12)


@DEVICES
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_text_goes_on_as_it_does_elsewhere(shelf: Path, cell: str, device: str) -> None:
    rows = sequences([5, 1, 17, 9, 40, 2], (20,))
    searches = [
        {"max_tokens": 15, "temperature": 1.0, "top_k": 5, "top_p": 0.9, "seed": seed} for seed in range(6)
    ]
    ours = found(open_torch(shelf / cell, device), rows, searches)
    theirs = found(open_onnx(shelf / cell, "cpu"), rows, searches)
    for one, other in zip(ours, theirs, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.note == other.note


@DEVICES
def test_a_sequence_is_found_as_it_is_elsewhere(shelf: Path, device: str) -> None:
    rows = sequences([5, 1, 17, 9, 12, 2], (14,))
    searches: list[dict[str, Any]] = [
        {"beam_size": 1 + seed, "max_tokens": 9, "length_penalty": 0.8, "attention": True}
        for seed in range(6)
    ]
    ours = found(open_torch(shelf / "sequence", device), rows, searches)
    theirs = found(open_onnx(shelf / "sequence", "cpu"), rows, searches)
    for one, other in zip(ours, theirs, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.note["score"] == pytest.approx(other.note["score"], abs=1e-3)
        np.testing.assert_allclose(one.note["attention"], other.note["attention"], atol=1e-3)


@DEVICES
@pytest.mark.parametrize("kind", ["chain", "each"])
def test_tags_are_those_found_elsewhere(shelf: Path, kind: str, device: str) -> None:
    ours, theirs = open_torch(shelf / kind, device), open_onnx(shelf / kind, "cpu")
    for lengths in ([5, 1, 9], [3], [12, 12, 1, 1], [5, 1, 9]):
        rows = sequences(lengths)
        inputs = np.zeros((len(rows), max(lengths), 2), np.int64)
        for place, row in zip(inputs, rows, strict=True):
            place[: len(row)] = row
        steps = np.array(lengths)
        wanted = theirs.run(inputs, steps)
        answer = ours.run(inputs, steps)
        assert answer.dtype == np.int64
        assert answer.tolist() == wanted.tolist()


@DEVICES
def test_logits_are_there_without_a_search_and_sequences_are_not(shelf: Path, device: str) -> None:
    rows = np.array(sequences([6, 6], (20,)))
    steps = np.array([6, 6])
    ours, theirs = open_torch(shelf / "lstm", device), open_onnx(shelf / "lstm", "cpu")
    np.testing.assert_allclose(ours.run(rows, steps), theirs.run(rows, steps), atol=1e-3)
    with pytest.raises(ValueError, match="token by token"):
        open_torch(shelf / "sequence", device).run(rows, steps)


def test_a_stop_string_is_watched_for(shelf: Path) -> None:
    decoder = open_torch(shelf / "lstm", "cpu").decoder
    assert decoder is not None
    assert decoder.stop_criteria({"stop": ["a"]}) is not None
    assert decoder.stop_criteria({"stop": []}) is None


def test_carried_rows_are_taken_shuffled_and_joined() -> None:
    def carried(batch: int, time: int) -> Tensors:
        return Tensors(torch.rand(2, batch, 3), torch.rand(batch, time, 4), torch.full((batch,), time))

    one, other = carried(2, 3), carried(1, 5)
    joined = one.concat([other])
    assert (len(one), len(joined)) == (2, 3)
    assert joined.memory is not None
    assert joined.memory.shape == (3, 5, 4)
    assert not joined.memory[:2, 3:].any()
    back = joined.select(np.array([1, 1, 0]))
    assert back.lengths is not None
    assert back.lengths.tolist() == [3, 3, 3]
    assert torch.equal(back.states, one.states[:, [1, 1, 0]])
    moved = one.reorder(np.array([1, 0]))
    assert torch.equal(moved.states, one.states.flip(1))
    assert moved.memory is one.memory
    plain = Tensors(one.states)
    assert plain.concat([plain]).memory is None
    assert len(plain.select(np.array([0]))) == 1
