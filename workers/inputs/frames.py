"""FRAMES: vectors at a high rate, of which a strided convolution makes fewer steps."""

import torch

from workers.inputs.kind import InputKind, random_vectors
from workers.nn.inputs import FramesInput

FRAMES = InputKind(FramesInput, torch.float32, random_vectors)
