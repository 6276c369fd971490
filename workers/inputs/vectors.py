"""VECTORS: one vector a step, read as it is."""

import torch

from workers.inputs.kind import InputKind, random_vectors
from workers.nn.inputs import VectorsInput

VECTORS = InputKind(VectorsInput, torch.float32, random_vectors)
