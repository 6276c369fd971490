"""The exported graphs asked step by step, against the networks of torch asked at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.tasks.contract import BEGIN
from tests.support.factories.speaking import sequences, speaker, tagger, translator
from workers.artifact.export import load_model
from workers.decoding import viterbi
from workers.decoding.onnx_model import States
from workers.decoding.scheduler import decode_all
from workers.decoding.sequence import Decoder
from workers.inference.engines import Engine, open_onnx

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    speaker(root / "lstm", layers=2)
    speaker(root / "gru", cell="gru", tie_weights=True)
    speaker(root / "rnn", cell="rnn")
    translator(root / "sequence")
    tagger(root / "chain")
    tagger(root / "each", crf=False)
    return root


def decoder(engine: Engine) -> Decoder:
    assert engine.decoder is not None
    return engine.decoder


def given(found: Any) -> Any:
    """What is there."""
    assert found is not None
    return found


def padded(rows: list[Any]) -> tuple[Any, Any]:
    lengths = np.array([len(row) for row in rows])
    inputs = np.zeros((len(rows), lengths.max(), rows[0].shape[1]), np.int64)
    for place, row in zip(inputs, rows, strict=True):
        place[: len(row)] = row
    return inputs, lengths


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_steps_lead_where_reading_at_once_leads(shelf: Path, cell: str) -> None:
    stepper = decoder(open_onnx(shelf / cell, "cpu")).model
    network: Any = load_model(shelf / cell, CPU)
    (tokens,) = sequences([12], (20,))
    scores, carried = stepper.prefill(tokens[None, :5], np.array([5]), stepper.initial_state(1))
    for step in range(5, 12):
        scores, carried, attention = stepper.step(tokens[step], carried)
        assert attention is None
    with torch.no_grad():
        first = network.initial_state(1)
        whole, state = network.forward_last(torch.from_numpy(tokens[None]), torch.tensor([12]), first)
    np.testing.assert_allclose(given(scores), whole.numpy(), atol=1e-5)
    np.testing.assert_allclose(carried.states, state.numpy(), atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_row_is_the_same_bit_for_bit_in_any_batch(shelf: Path, cell: str) -> None:
    """So that a seed gives the same text whoever else is in the batch."""
    stepper = decoder(open_onnx(shelf / cell, "cpu")).model
    rows = sequences([7, 1, 30, 12, 5, 5, 9], (20,))
    inputs, lengths = padded(rows)
    scores, carried = stepper.prefill(inputs, lengths, stepper.initial_state(len(rows)))
    assert scores is not None
    after = stepper.step(np.arange(4, 11), carried)
    for place, row in enumerate(rows):
        alone, own = stepper.prefill(row[None], lengths[place : place + 1], stepper.initial_state(1))
        assert alone is not None
        assert np.array_equal(alone[0], scores[place])
        again = stepper.step(np.array([4 + place]), own)
        assert np.array_equal(again.scores[0], after.scores[place])
        assert np.array_equal(again.state.states[:, 0], after.state.states[:, place])


def test_a_prompt_in_pieces_is_a_prompt(shelf: Path) -> None:
    stepper = decoder(open_onnx(shelf / "lstm", "cpu")).model
    assert stepper.chunked_prefill
    (tokens,) = sequences([20], (20,))
    whole, _ = stepper.prefill(tokens[None], np.array([20]), stepper.initial_state(1))
    carried = stepper.initial_state(1)
    for start in range(0, 20, 7):
        piece = tokens[None, start : start + 7]
        scores, carried = stepper.prefill(piece, np.array([piece.shape[1]]), carried)
    np.testing.assert_allclose(given(scores), given(whole), atol=1e-6)


def test_a_decoder_looks_back_at_its_source(shelf: Path) -> None:
    stepper = decoder(open_onnx(shelf / "sequence", "cpu")).model
    network: Any = load_model(shelf / "sequence", CPU)
    rows = sequences([3, 8, 5], (14,))
    inputs, lengths = padded(rows)
    nothing, carried = stepper.prefill(inputs, lengths, stepper.initial_state(3))
    assert nothing is None
    assert not stepper.chunked_prefill
    with torch.no_grad():
        memory, state = network.forward_last(
            torch.from_numpy(inputs), torch.from_numpy(lengths), network.initial_state(3)
        )
        for tokens in (np.full(3, BEGIN), np.array([5, 6, 7])):
            scores, carried, attention = stepper.step(tokens, carried)
            logs, state, seen = network.decode_step(
                torch.from_numpy(tokens[:, None]), state, memory, torch.from_numpy(lengths)
            )
            np.testing.assert_allclose(scores, logs.numpy(), atol=1e-5)
            np.testing.assert_allclose(given(attention), seen.numpy(), atol=1e-5)
    assert attention is not None
    for row, length in zip(attention, lengths, strict=True):
        assert row[:length].sum() == pytest.approx(1, abs=1e-5)
        assert not row[length:].any()


SEARCHES: dict[str, Callable[[int], dict[str, Any]]] = {
    "lstm": lambda seed: {"max_tokens": 20, "temperature": 1.0, "top_k": 0, "top_p": 0.9, "seed": seed},
    "sequence": lambda seed: {
        "max_tokens": 8,
        "beam_size": 1 + seed % 4,
        "length_penalty": 0.8,
        "attention": True,
    },
}


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_batch_of_many_is_a_batch_of_one(shelf: Path, kind: str) -> None:
    asked = decoder(open_onnx(shelf / kind, "cpu"))
    rows = sequences([5, 1, 17, 9, 30, 2, 8, 8, 12, 3], (14,))
    searches = [SEARCHES[kind](seed) for seed in range(10)]
    together = decode_all(asked, rows, searches, rows=16)
    for row, search, found in zip(rows, searches, together, strict=True):
        (alone,) = decode_all(asked, [row], [search])
        assert found.tokens.tolist() == alone.tokens.tolist()
        assert found.note.keys() == alone.note.keys()
        assert found.note["finish_reason"] == alone.note["finish_reason"]
        assert found.note.get("score", 0) == pytest.approx(alone.note.get("score", 0), abs=1e-5)
        if kind == "sequence":
            np.testing.assert_allclose(found.note["attention"], alone.note["attention"], atol=1e-5)


@pytest.mark.parametrize("kind", ["chain", "each"])
def test_tags_are_the_best_path(shelf: Path, kind: str) -> None:
    engine = open_onnx(shelf / kind, "cpu")
    network: Any = load_model(shelf / kind, CPU)
    rows = sequences([9, 1, 4])
    inputs, lengths = padded(rows)
    with torch.no_grad():
        emissions = network.predict(torch.from_numpy(inputs), torch.from_numpy(lengths)).numpy()
        transitions = network.transitions()
    chain = None if transitions is None else transitions.detach().numpy()
    found = engine.run(inputs, lengths)
    assert found.dtype == np.int64
    assert found.tolist() == viterbi.best(emissions, lengths, chain).tolist()
    assert engine.decoder is None
    if kind == "chain":
        for row, length in zip(found, lengths, strict=True):
            pairs = set(zip(row[: length - 1].tolist(), row[1:length].tolist(), strict=True))
            assert (0, 1) not in pairs
            assert row[0] != 2


def test_a_sequence_is_not_answered_at_once(shelf: Path) -> None:
    engine = open_onnx(shelf / "sequence", "cpu")
    with pytest.raises(ValueError, match="token by token"):
        engine.run(np.ones((1, 2, 1), np.int64), np.array([2]))


def test_the_logits_after_a_prompt_are_there_without_a_search(shelf: Path) -> None:
    engine = open_onnx(shelf / "lstm", "cpu")
    (tokens,) = sequences([6], (20,))
    stepper = decoder(engine).model
    scores, _ = stepper.prefill(tokens[None], np.array([6]), stepper.initial_state(1))
    np.testing.assert_array_equal(engine.run(tokens[None], np.array([6])), scores)


def test_stop_strings_are_watched_and_nothing_else(shelf: Path) -> None:
    asked = decoder(open_onnx(shelf / "lstm", "cpu"))
    assert asked.stop_criteria({"stop": []}) is None
    assert asked.stop_criteria({}) is None
    watcher = asked.stop_criteria({"stop": ["e"]})
    assert watcher is not None
    search = SEARCHES["lstm"](1) | {"max_tokens": 400, "stop": ["e"]}
    (found,) = decode_all(asked, [np.array([[3]])], [search])
    assert found.note == {"finish_reason": "stop"}
    for token in found.tokens[:-1].tolist():
        watcher.push([token])
    assert not watcher.ended
    watcher.push(found.tokens[-1:].tolist())
    assert watcher.ended


def test_carried_rows_are_taken_shuffled_and_joined() -> None:
    rng = np.random.default_rng(0)

    def carried(batch: int, time: int) -> States:
        states = rng.normal(size=(2, batch, 3)).astype(np.float32)
        return States(
            states, rng.normal(size=(batch, time, 4)).astype(np.float32), np.full(batch, time, np.int64)
        )

    one, other = carried(2, 3), carried(1, 5)
    joined = one.concat([other])
    assert (len(one), len(other), len(joined)) == (2, 1, 3)
    assert joined.memory is not None
    assert joined.memory.shape == (3, 5, 4)
    assert not joined.memory[:2, 3:].any()
    back = joined.select(np.array([1, 1, 0]))
    assert back.memory is not None
    assert one.memory is not None
    np.testing.assert_array_equal(back.memory, one.memory[[1, 1, 0]])  # as short as its rows are
    np.testing.assert_array_equal(back.states, one.states[:, [1, 1, 0]])
    moved = one.reorder(np.array([1, 0]))
    np.testing.assert_array_equal(moved.states, one.states[:, ::-1])
    assert moved.memory is one.memory
    plain = States(one.states)
    assert plain.concat([plain]).memory is None
    assert len(plain.select(np.array([0]))) == 1
