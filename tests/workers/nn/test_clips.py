"""The input layer of clips learns on, whatever an earlier step made of it."""

import torch

from app.tasks.contract import Input, Output
from workers.nn.clips import ClipsInput
from workers.nn.config import ModelConfig

SIZE, FRAMES = 16, 3


def test_one_bad_step_does_not_stop_an_input_layer_for_good() -> None:
    config = ModelConfig(
        Input.CLIPS, Output.LABEL, SIZE * SIZE, 2, embedding_size=8, height=SIZE, width=SIZE, channels=1
    )
    layer = ClipsInput(config)
    with torch.no_grad():
        layer.project.bias.fill_(-100.0)  # as after a step that was too large: nothing is positive
    clips = torch.randint(0, 256, (2, FRAMES, SIZE * SIZE), generator=torch.Generator().manual_seed(0))
    vectors = layer(clips.to(torch.uint8), torch.tensor([FRAMES, FRAMES]))  # (2, FRAMES, 8)
    (vectors * torch.arange(8.0)).sum().backward()
    assert float(layer.project.weight.grad.abs().max()) > 1e-6  # type: ignore[union-attr]
