"""What every kind of network owes, with every cell."""

from pathlib import Path
from typing import cast

import pytest
import torch

from tests.workers.nn.networks import KINDS, config, examples, network
from workers.artifact.export import export_decoder, export_onnx, load_model, save, verify_decoder, verify_onnx
from workers.nn import Translator
from workers.nn.losses import Penalties
from workers.nn.model import SequenceModel
from workers.nn.recurrent.cells import CELLS
from workers.outputs import build, join

LENGTHS = [6, 3, 1, 5]

every_kind = pytest.mark.parametrize("kind", KINDS)
every_cell = pytest.mark.parametrize("cell", sorted(CELLS))


@every_kind
@every_cell
def test_a_batch_of_one_is_a_batch_of_many(kind: str, cell: str) -> None:
    model = network(kind, cell, layers=2)
    inputs, lengths, *_ = examples(model.config, LENGTHS)
    with torch.no_grad():
        together, states = model.forward_last(inputs, lengths, model.initial_state(len(LENGTHS)))
        for row, length in enumerate(LENGTHS):
            alone, state = model.forward_last(
                inputs[row : row + 1, :length], lengths[row : row + 1], model.initial_state(1)
            )
            found = together[row, :length] if together.dim() == 3 else together[row]
            torch.testing.assert_close(found, alone[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(states[:, row], state[:, 0], atol=1e-5, rtol=1e-5)


@every_kind
@every_cell
def test_padding_changes_no_loss(kind: str, cell: str) -> None:
    model = network(kind, cell)
    together = examples(model.config, LENGTHS)
    total = 0.0
    with torch.no_grad():
        whole = float(model.losses(*together)[0])
        for row, length in enumerate(LENGTHS):
            inputs, lengths, targets, weights = (part[row : row + 1] for part in together)
            if targets.dim() > 1 and model.config.output.value != "sequence":
                targets, weights = targets[:, :length], weights[:, :length]
            total += float(model.losses(inputs[:, :length], lengths, targets, weights)[0])
    assert whole == pytest.approx(total, rel=1e-4)


@every_kind
@every_cell
def test_the_graphs_compute_what_torch_does(kind: str, cell: str, tmp_path: Path) -> None:
    model = network(kind, cell)
    export_onnx(model, tmp_path / "model.onnx")
    assert verify_onnx(model, tmp_path / "model.onnx") < 1e-5
    if isinstance(model, Translator):
        export_decoder(model, tmp_path / "decoder.onnx")
        assert verify_decoder(model, tmp_path / "decoder.onnx") < 1e-5


@every_kind
def test_an_artifact_of_several_members_rebuilds_them(kind: str, tmp_path: Path) -> None:
    members = [network(kind, seed=seed, members=2) for seed in (1, 2)]
    save(tmp_path, join(members), {})
    again = load_model(tmp_path, torch.device("cpu"))
    inputs, lengths, *_ = examples(members[0].config, LENGTHS)
    with torch.no_grad():
        ours = join(members).forward_last(inputs, lengths, again.initial_state(len(LENGTHS)))
        theirs = again.forward_last(inputs, lengths, again.initial_state(len(LENGTHS)))
    for one, other in zip(ours, theirs, strict=True):
        assert one.equal(other)


@every_kind
def test_two_equal_members_answer_as_one(kind: str) -> None:
    one, twins = network(kind), join([network(kind), network(kind)])
    inputs, lengths, *_ = examples(one.config, LENGTHS)
    with torch.no_grad():
        alone, state = one.forward_last(inputs, lengths, one.initial_state(len(LENGTHS)))
        both, states = twins.forward_last(inputs, lengths, twins.initial_state(len(LENGTHS)))
        if kind.startswith("sequence"):
            assert isinstance(one, Translator)
            tokens = torch.full((len(LENGTHS), 1), 5)
            wanted = one.decode_step(tokens, state, alone, lengths)
            found = cast("Translator", twins).decode_step(tokens, states, both, lengths)
            torch.testing.assert_close(found[0], wanted[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(found[2], wanted[2], atol=1e-5, rtol=1e-5)
            return
    if kind.startswith("next"):
        both, alone = both.log_softmax(dim=-1), alone.log_softmax(dim=-1)
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(states, torch.cat([state, state]))


@every_kind
@every_cell
def test_every_parameter_learns_and_the_loss_falls(kind: str, cell: str) -> None:
    changes = {"dropout": 0.1, "input_dropout": 0.1, "variational_dropout": True, "weight_drop": 0.1}
    model = build(config(kind, cell, layers=2, **changes), 0)
    batch = examples(model.config, LENGTHS)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    penalties, losses = Penalties(0.05, 0.1, 0.1), []
    for _ in range(30):
        optimizer.zero_grad()
        loss, _ = model.losses(*batch, penalties=penalties)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize("pooling", ["concat", "attention", "last", "max", "mean"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_no_pooling_reads_padding(pooling: str, bidirectional: bool) -> None:
    model = network("label of vectors", pooling=pooling, bidirectional=bidirectional)
    assert isinstance(model, SequenceModel)
    inputs, lengths, *_ = examples(model.config, LENGTHS)
    spoilt = inputs.masked_fill(
        torch.arange(max(LENGTHS))[None, :, None] >= lengths[:, None, None], torch.nan
    )
    with torch.no_grad():
        clean, dirty = model.predict(inputs, lengths), model.predict(spoilt, lengths)
    torch.testing.assert_close(clean, dirty)


def test_probabilities_of_members_are_averaged() -> None:
    members = [network("label of vectors", seed=seed) for seed in (1, 2, 3)]
    inputs, lengths, *_ = examples(members[0].config, LENGTHS)
    with torch.no_grad():
        state = torch.cat([one.initial_state(4) for one in members])
        logs, _ = join(members).forward_last(inputs, lengths, state)
        each = [one.forward_last(inputs, lengths, one.initial_state(4))[0].exp() for one in members]
    torch.testing.assert_close(logs.exp(), torch.stack(each).mean(dim=0))
