"""A language model over another network's inputs."""

from typing import Any

import torch

from tests.workers.nn.networks import config, examples
from workers.nn import LanguageModel
from workers.nn.model import SequenceModel
from workers.outputs import build
from workers.training.batches import NextTokenSplit


def model(**changes: Any) -> SequenceModel:
    made = build(config("label of words", **changes), 0)
    assert isinstance(made, SequenceModel)
    return made


def followed(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    inputs, steps, *_ = examples(model().config, lengths)
    targets = torch.zeros(inputs.shape[:2], dtype=torch.long)
    targets[:, :-1] = inputs[:, 1:, 0]
    weights = (torch.arange(1, inputs.shape[1] + 1)[None] < steps[:, None]).float()
    return inputs, steps, targets, weights


def test_what_it_learns_is_in_the_network_at_once() -> None:
    network = model()
    language = LanguageModel(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch, losses = followed([6, 4, 2]), []
    optimizer = torch.optim.Adam(language.parameters(), lr=0.05)
    for _ in range(25):
        optimizer.zero_grad()
        loss, _ = language.losses(*batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    changed = {name for name, value in network.state_dict().items() if not value.equal(before[name])}
    assert changed
    assert all(name.startswith(("embed.", "recurrent.")) for name in changed)
    assert any("backwards" in name for name in changed)


def test_it_never_sees_the_token_that_it_predicts() -> None:
    network = model(pooling="last")
    language = LanguageModel(network).eval()
    inputs, lengths, targets, weights = followed([6])
    for step in range(6):
        changed = inputs.clone()
        changed[0, step, 1:] = 1 + changed[0, step, 1:] % 5  # its characters, not the token itself
        alone = torch.zeros_like(weights)
        if step:
            alone[0, step - 1] = 1  # the loss of the prediction of this step, read forwards
        forward = LanguageModel(model(bidirectional=False)).eval()
        forward.load_state_dict(language.state_dict(), strict=False)
        with torch.no_grad():
            one, other = (forward.losses(each, lengths, targets, alone)[0] for each in (inputs, changed))
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_padding_changes_no_loss() -> None:
    language = LanguageModel(model()).eval()
    batch = followed([6, 3, 1, 2])
    with torch.no_grad():
        whole = float(language.losses(*batch)[0])
        alone = sum(float(language.losses(*(part[row : row + 1] for part in batch))[0]) for row in range(4))
    assert abs(whole - alone) < 1e-3
    assert NextTokenSplit.carried is False
