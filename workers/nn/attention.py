"""Where a decoder looks: scores of its states against what an encoder remembers, and the mean by them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from workers.nn.pooling import LOW
from workers.nn.recurrent.cells import real


class General(nn.Module):
    """A bilinear score, scaled (Luong, Pham & Manning 2015)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.turn = nn.Linear(width, width, bias=False)
        self.scale = float(width) ** -0.5

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Queries (batch, steps, width) and memory (batch, time, width) to scores (batch, steps, time)."""
        turned: Tensor = self.turn(queries)
        return torch.bmm(self.scale * turned, memory.transpose(1, 2))


class Dot(nn.Module):
    """The plain product, scaled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = float(width) ** -0.5

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """As of `General`."""
        return torch.bmm(self.scale * queries, memory.transpose(1, 2))


class Additive(nn.Module):
    """A small network over both (Bahdanau, Cho & Bengio 2015)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """As of `General`."""
        joined = torch.tanh(self.query(queries)[:, :, None] + self.key(memory)[:, None])
        scores: Tensor = self.score(joined).squeeze(-1)  # (batch, steps, time)
        return scores


def attend(scores: Tensor, memory: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (batch, steps, time) to what is read (batch, steps, width) and the weights of each place."""
    seen = real(lengths, memory.shape[1])[:, None]  # (batch, 1, time)
    weights = torch.where(seen, scores, LOW).softmax(dim=-1)
    return weights @ memory, weights


ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {"general": General, "dot": Dot, "additive": Additive}
