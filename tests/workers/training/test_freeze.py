"""An input layer that is frozen after some epochs stays as it is; what stands behind it goes on learning."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.arrays import Ints
from app.tasks.contract import Batch
from tests.workers.nn.networks import config
from tests.workers.training.test_fit import CONFIG, CPU
from workers.outputs import build
from workers.training.loop import Loop


class Images:
    """Noise with labels."""

    carried = False
    lengths = np.full(8, 3)

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        inputs = np.random.default_rng(0).integers(0, 256, (8, 3, 126)).astype(np.uint8)[rows]
        return Batch(inputs, self.lengths[rows], rows % 3, np.ones(len(rows), np.float32))


@pytest.mark.parametrize("last", [None, 1])
def test_the_input_layer_learns_until_it_is_frozen(last: int | None) -> None:
    model = build(config("label of clips"), 0)
    loop = Loop(model, replace(CONFIG, freeze_after=last, batch_size=4), CPU, 8)
    weights = []
    for _ in range(3):
        assert loop.run(Images(), lambda _samples, _loss: True)
        weights.append({name: value.clone() for name, value in model.named_parameters()})
    for name, before in weights[0].items():
        frozen = last is not None and name.startswith("embed.")
        assert torch.equal(before, weights[2][name]) == frozen, name
