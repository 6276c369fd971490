"""What makes one vector of the states of a sequence; padding is never read."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from workers.nn.recurrent.cells import at, real

LOW = -1e4  # below every state


def last(states: Tensor, lengths: Tensor, directions: int) -> Tensor:
    """The forward state of the last real step and the backward state of the first, (batch, width)."""
    end = at(states, lengths - 1).squeeze(1)  # (batch, width)
    if directions == 1:
        return end
    half = states.shape[2] // 2
    return torch.cat([end[:, :half], states[:, 0, half:]], dim=-1)


def largest(states: Tensor, lengths: Tensor) -> Tensor:
    """The largest value of each state, (batch, width)."""
    return torch.where(real(lengths, states.shape[1])[:, :, None], states, LOW).amax(dim=1)


def mean(states: Tensor, lengths: Tensor) -> Tensor:
    """Of each state, (batch, width)."""
    total = torch.where(real(lengths, states.shape[1])[:, :, None], states, 0.0).sum(dim=1)
    return total / lengths[:, None].to(states.dtype)


class Concat(nn.Module):
    """Last, largest and mean side by side (Howard & Ruder 2018)."""

    def __init__(self, width: int, directions: int) -> None:
        super().__init__()
        self.width, self.directions = 3 * width, directions

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, width) to (batch, 3 * width)."""
        ends = last(states, lengths, self.directions)
        return torch.cat([ends, largest(states, lengths), mean(states, lengths)], dim=-1)


class One(nn.Module):
    """One of the three."""

    def __init__(self, width: int, directions: int, kind: str) -> None:
        super().__init__()
        self.width, self.directions, self.kind = width, directions, kind

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, width) to (batch, width)."""
        if self.kind == "last":
            return last(states, lengths, self.directions)
        return (largest if self.kind == "max" else mean)(states, lengths)


class Attention(nn.Module):
    """A weighted mean whose weights a small network finds (Yang et al. 2016, after Bahdanau et al. 2015)."""

    def __init__(self, width: int, directions: int) -> None:
        super().__init__()
        del directions
        self.width = width
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, width) to (batch, width)."""
        scores = self.score(torch.tanh(self.hidden(states)))  # (batch, time, 1)
        seen = real(lengths, states.shape[1])[:, :, None]  # (batch, time, 1)
        weights = torch.where(seen, scores, LOW).softmax(dim=1)
        return (weights * torch.where(seen, states, 0.0)).sum(dim=1)


POOLINGS: dict[str, Callable[[int, int], nn.Module]] = {
    "concat": Concat,
    "attention": Attention,
    **{kind: partial(One, kind=kind) for kind in ("last", "max", "mean")},
}
