"""The input layer of clips learns on, whatever an earlier step made of it."""

import pytest
import torch

from app.tasks.contract import Input, Output
from workers.nn.clips import ClipsInput
from workers.nn.config import ModelConfig

SIZE, FRAMES = 16, 3


def test_images_with_the_same_background_are_told_apart_from_the_first_step_on() -> None:
    torch.manual_seed(0)
    config = ModelConfig(Input.CLIPS, Output.LABEL, 48 * 48, 2, height=48, width=48, channels=1)
    clips = torch.zeros(1, 8, 48, 48, dtype=torch.uint8)  # (clips, frames, height, width)
    for frame in range(8):
        clips[0, frame, 18:26, 4 * frame : 4 * frame + 8] = 200  # a square that moves over a dark ground
    vectors = ClipsInput(config)(clips.flatten(2), torch.tensor([8]))[0].detach()  # (frames, width)
    common = vectors.mean(0)
    assert float((vectors - common).norm(dim=1).mean() / common.norm()) > 0.5


@pytest.mark.parametrize("size", [8, 9, 16, 48])
def test_frames_of_every_size_are_told_apart(size: int) -> None:
    torch.manual_seed(0)
    config = ModelConfig(Input.CLIPS, Output.LABEL, size * size, 2, height=size, width=size, channels=1)
    clips = torch.randint(0, 256, (2, FRAMES, size * size), generator=torch.Generator().manual_seed(0))
    vectors = ClipsInput(config)(clips.to(torch.uint8), torch.tensor([FRAMES, FRAMES])).flatten(0, 1).detach()
    assert float(torch.pdist(vectors).min()) > 0.1


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
