"""What turns one step of input into a vector: a table by kind of input."""

from collections.abc import Callable

from torch import Tensor, nn

from app.tasks.base import Input


class Vectors(nn.Module):
    """Steps that are vectors already: passed on as they are."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.width = features

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, time, features) to (batch, time, width)."""
        return inputs


INPUTS: dict[Input, Callable[[int], Vectors]] = {Input.VECTORS: Vectors}
