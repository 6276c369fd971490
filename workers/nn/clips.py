"""The input layer of clips: a small convolutional network makes a vector of each image."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from workers.nn.config import ModelConfig
from workers.nn.recurrent.dropout import Dropout

WINDOW, FIRST_WINDOW = 3, 5  # pixels that a convolution covers, either way
MIN_PIXELS = 4  # of a channel that is normalized alone; one pixel would always become zero
WHITE = 255.0  # the largest value of a pixel


class ClipsInput(nn.Module):
    """Images as vectors: convolutions that halve the size, then a dense layer over what is where.

    The frame-by-frame front of LRCN (Donahue et al. 2015), trained with the rest. Each channel is normalized
    within each image (Ulyanov et al. 2016, "Instance normalization"), so neither other clips nor padding
    matter. What all images have in common, such as a dark background, goes as well: when several channels
    were normalized together it stayed, and with some hundred clips the loss stood still for 10 to 40 epochs.
    With `differences` each image is read beside its change since the one before it, a cheap stand-in for
    optical flow (Wang et al. 2016, "Temporal segment networks", section 3.2).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.image = (config.channels, config.height, config.width)
        self.width, self.differences = config.embedding_size, config.differences
        planes = config.channels * (2 if config.differences else 1)
        blocks, height, width = list[nn.Module](), config.height, config.width
        for number, (before, after) in enumerate(pairwise((planes, *config.filters))):
            kernel = WINDOW if number else FIRST_WINDOW
            blocks.append(nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False))
            height, width = -(-height // 2), -(-width // 2)
            blocks.append(nn.GroupNorm(after if height * width >= MIN_PIXELS else 1, after))
            blocks.append(nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(*blocks)
        self.blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # faster on CPUs
        self.project = nn.Linear(config.filters[-1] * height * width, self.width)
        self.norm = nn.LayerNorm(self.width)
        self.dropout = Dropout(config.input_dropout, variational=config.variational_dropout)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, features) uint8 to (batch, time, width)."""
        del lengths
        batch, time, _ = inputs.shape
        pixels = inputs.to(self.project.weight.dtype) / WHITE - 0.5  # (batch, time, features)
        images = pixels.reshape(batch, time, *self.image)  # (batch, time, channels, height, width)
        if self.differences:
            before = torch.cat([images[:, :1], images[:, :-1]], dim=1)
            images = torch.cat([images, images - before], dim=2)  # (batch, time, 2 * channels, height, width)
        maps = self.blocks(images.flatten(0, 1))  # (batch * time, filters, rows, columns)
        # Normalized before what is negative is cut off: whatever step the optimizer took, some of it stays.
        vectors = torch.relu(self.norm(self.project(maps.flatten(1))))  # (batch * time, width)
        dropped: Tensor = self.dropout(vectors.reshape(batch, time, self.width))
        return dropped

    def strided(self, lengths: Tensor) -> Tensor:
        """Lengths (batch,) after this layer: the same."""
        return lengths
